"""Ends calls of an app that the database does not answer in time. One timer serves all of them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol, Self, TypeVar

from romancy.engine.surroundings import here
from romancy.errors import OutcomeUnknownError, StorageUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType

__all__ = ["ANSWER_WITHIN", "Deadlines", "Timed", "TimedCall"]

T = TypeVar("T")

ANSWER_WITHIN: Final = 10.0
_BLOCKED: Final = 0.5
"""Seconds by which the timer of a process comes late that was busy or stopped."""
_GRACE: Final = 1.0
"""Seconds in which such a process takes the answers that have come."""


class Timed(Protocol):
    """What waits for the database."""

    def expire(self) -> None:
        """Stop waiting."""
        ...


class Deadlines:
    """The calls of one app that wait for the database, each with the same time limit."""

    def __init__(self, seconds: float, what_blocks: Callable[[], str] = str) -> None:
        """`what_blocks` says what may keep the database from answering; empty if nothing is known."""
        self.seconds = seconds
        self.what_blocks = what_blocks
        self.began: dict[Timed, float] = {}
        """When each waiting call began, the oldest first."""
        self._timer: asyncio.TimerHandle | None = None

    def call(
        self, what: str, instance_ids: Sequence[str] = (), *, message_id: str | None = None, joined: bool = False
    ) -> TimedCall:
        """A block that writes. It raises OutcomeUnknownError or StorageUnavailableError when its time is over.

        `message_id` is an id with which the call can be repeated. `joined`: the caller's own transaction writes.
        """
        return TimedCall(self, what, instance_ids, message_id, joined=joined)

    def begin(self, call: Timed) -> None:
        """Count the call's time from now."""
        self.began[call] = here().seconds()
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self.seconds, self._look)

    def end(self, call: Timed) -> None:
        """The call has ended."""
        self.began.pop(call, None)

    def _look(self) -> None:
        """End the calls whose time is over, and look again when that of the next one is."""
        self._timer = None
        loop = asyncio.get_running_loop()
        now = here().seconds()
        oldest = next(iter(self.began.values()), now)
        if now - oldest - self.seconds > _BLOCKED:  # this process was blocked, and could not take the answers
            least = now - self.seconds + _GRACE
            self.began.update([(call, max(began, least)) for call, began in self.began.items()])
            self._timer = loop.call_later(_GRACE, self._look)
            return
        for call, began in list(self.began.items()):
            if began + self.seconds > now:
                self._timer = loop.call_later(began + self.seconds - now, self._look)
                return
            self.end(call)
            call.expire()


class TimedCall:
    """One call that waits for the database."""

    __slots__ = ("_cancelling", "_deadlines", "_expired", "_joined", "_message_id", "_task", "_what", "instance_ids")

    def __init__(
        self, deadlines: Deadlines, what: str, instance_ids: Sequence[str], message_id: str | None, *, joined: bool
    ) -> None:
        self._deadlines = deadlines
        self._what = what
        self.instance_ids: Sequence[str] | None = instance_ids
        """The instances that may have been written. None: nothing was written."""
        self._message_id = message_id
        self._joined = joined
        self._expired = False

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - the app is called in a task
        self._task, self._cancelling = task, task.cancelling()
        self._deadlines.begin(self)
        return self

    def renew(self) -> None:
        """Count the time from now: the database has answered a part of the call."""
        self._deadlines.end(self)
        self._deadlines.begin(self)

    def renewing(self, parts: Sequence[T]) -> Iterator[T]:
        """The parts of the call, which are answered one after the other. Each hundred of them is progress."""
        for number, part in enumerate(parts):
            if number and number % 100 == 0:
                self.renew()
            yield part

    def expire(self) -> None:
        """Stop waiting."""
        self._expired = True
        self._task.cancel()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._deadlines.end(self)
        if error is None:
            return
        if self._expired and isinstance(error, asyncio.CancelledError):
            if self._task.uncancel() <= self._cancelling:
                raise self.late() from None
        elif isinstance(error, StorageUnavailableError) and error.maybe_written and not self._joined:
            raise self._unknown(str(error)) from error

    def late(self) -> StorageUnavailableError:
        """The error of a call whose time is over."""
        said = f"{self._what}: the database has not answered within {self._deadlines.seconds:g} s"
        if blocks := self._deadlines.what_blocks():
            said = f"{said}: {blocks}"
        if self._joined:
            return StorageUnavailableError(f"{said}; nothing is durable unless you commit: roll your transaction back")
        if self.instance_ids is None:
            return StorageUnavailableError(f"{said}; nothing was sent, and nothing will be: try again later")
        return self._unknown(said)

    def _unknown(self, said: str) -> OutcomeUnknownError:
        ids = tuple(self.instance_ids or ())
        safe = "repeating it with the same id is safe"
        if self._message_id is None and self._what in _WITH_MESSAGES:
            safe = "with an id of yours (`id=…`) it could be repeated safely"
        return OutcomeUnknownError(
            f"{said}. It may take effect all the same; {safe}", instance_ids=ids, message_id=self._message_id
        )


_WITH_MESSAGES: Final = ("send", "signal", "publish")
