"""The sender of a relay, and the exceptions by which it reports a failed send."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

from romancy.errors import UsageError
from romancy.retry import seconds

if TYPE_CHECKING:
    from romancy.outbox._event import OutboxEvent
    from romancy.retry import Duration

__all__ = ["Reject", "Retry", "Sender", "check_sender", "refused"]

_TAKES: Final = "Relay takes an object with `async def send(event)`"


class Retry(Exception):  # noqa: N818 - it says what to do, not what is wrong
    """The event could not be sent now. With `after`, the next attempt is not made before that time has passed."""

    def __init__(self, reason: str = "", after: Duration | None = None) -> None:
        super().__init__(reason)
        self.after = None if after is None else seconds(after, "after")


class Reject(Exception):  # noqa: N818 - as above
    """The receiver will never accept this event. It becomes `invalid`, and the next one of its key is sent."""


@runtime_checkable
class Sender(Protocol):
    """Sends one event at a time to one receiver. The relay calls it for several events at the same time.

    A sender that is an async context manager is entered when the relay begins, and left when it has ended.
    """

    async def send(self, event: OutboxEvent, /) -> None:
        """Return when the receiver has the event for good.

        Raise `Retry` or `Reject` otherwise. Any other exception counts as `Retry`, except a `TerminalError`, errors
        that the relay's `retry` policy excludes, and those that are no `Exception`: they count as `Reject`. The relay
        cancels a call that takes too long.
        """
        ...


def check_sender(sender: object) -> None:
    """Raise UsageError unless a relay can use it. The relay makes further checks when it sends."""
    if isinstance(sender, type):
        raise UsageError(f"{_TAKES}, not a class: make one, as in {sender.__name__}(…)")
    # Not `isinstance`, which sees no attribute that `__getattr__` makes from Python 3.12 on, such as those of a mock.
    send = getattr(sender, "send", None)
    if not callable(send):
        raise UsageError(f"{_TAKES}, not a {type(sender).__name__}")
    if _is_synchronous(send):
        raise refused(sender)


def refused(sender: object) -> UsageError:
    """The error for a sender whose `send` cannot be awaited."""
    return UsageError(f"{_TAKES}: {type(sender).__name__}.send is no `async def`")


def _is_synchronous(call: Any) -> bool:
    """Whether it is a function in Python, and neither it nor what it wraps is a coroutine function."""
    while isinstance(call, functools.partial):
        call = call.func
    call = getattr(call, "__func__", call)
    return inspect.isfunction(call) and not inspect.iscoroutinefunction(inspect.unwrap(call))
