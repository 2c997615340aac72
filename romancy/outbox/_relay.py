"""A relay as its user declares it: the sender, and the limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from romancy._options import some_time
from romancy.errors import UsageError
from romancy.outbox._sender import check_sender
from romancy.retry import Duration, RetryPolicy, policy, seconds, whole_number
from romancy.storage.limits import check_text

if TYPE_CHECKING:
    from romancy.outbox._sender import Sender

__all__ = ["Relay"]

_RETRY: Final = RetryPolicy(300, 1.0, 2.0, 300.0, jitter=0.3)
_MARGIN: Final = 15.0
"""Seconds by which a claim outlasts an attempt, for the steps before and after it."""


class Relay:
    """Sends published events, for `Romancy(url, relay=Relay(sender))`. Any number of processes may do so at once.

    An app with a worker runs its relay; `romancy relay MODULE:APP` runs it alone.
    """

    def __init__(
        self,
        sender: Sender,
        *,
        concurrency: int = 16,
        timeout: Duration = 30.0,
        lease: Duration | None = None,
        retry: RetryPolicy | None = None,
        max_age: Duration | None = 7 * 86_400.0,
        keep: Duration | None = 86_400.0,
        source: str = "/romancy",
    ) -> None:
        """`concurrency` is how many events are sent at the same time, `timeout` the longest that one attempt takes.

        Another relay sends what one that crashed was sending when the `lease` is over: by default 15 seconds more than
        the `timeout`. `retry` says how often and how fast an event is tried again: by default 300 attempts, up to five
        minutes apart, which take most of a day. An event that is older than `max_age` when it could be sent expires.
        Published events are kept for `keep`, so that you can see them; None keeps them until you purge them. `source`
        is the beginning of the CloudEvents' `source`.
        """
        check_sender(sender)
        check_text(source, "source")
        if not source:
            raise UsageError("source must not be empty: CloudEvents require one")
        self.sender = sender
        self.concurrency = whole_number(concurrency, "concurrency")
        self.timeout = some_time(timeout, "timeout")
        self.lease = self.timeout + _MARGIN if lease is None else some_time(lease, "lease")
        if self.lease <= self.timeout:
            raise UsageError("lease must be longer than timeout: an event is claimed for that long, and then sent")
        self.retry = policy(retry) or _RETRY
        self.max_age = None if max_age is None else some_time(max_age, "max_age")
        self.keep = None if keep is None else seconds(keep, "keep")
        self.source = source.rstrip("/") or "/"

    def __repr__(self) -> str:
        return f"Relay({self.sender!r})"
