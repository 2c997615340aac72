"""One start of an instance, from the call to the database's answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

from romancy.storage.records import Outcome

if TYPE_CHECKING:
    from collections import deque
    from contextvars import Context

    from msgspec import Raw

    from romancy._deadlines import Timed
    from romancy.handle import Handle
    from romancy.hooks import Sending
    from romancy.storage.records import Item
    from romancy.workflow import Workflow

__all__ = ["LEAST", "Start"]

T = TypeVar("T")

LEAST: Final = 1024
"""Approximate bytes of a start besides its input."""


class Line(Protocol):
    """Where starts stand until they are answered."""

    timed: dict[Timed, float]
    unanswered: dict[Start[Any], bool]
    left: int
    ready: deque[Start[Any]]
    rooms: deque[asyncio.Future[None]]

    def go_on(self) -> None:
        """Let others come, now that there is room."""
        ...

    def late(self, start: Start[Any], /) -> Exception:
        """The error of a caller that has waited for too long."""
        ...


class Start(Generic[T]):
    """What a caller asks for. `Starter` fills in what follows from the call, in the context of the caller."""

    __slots__ = (
        "answer", "args", "asked_at", "chosen", "context", "exists", "given_up", "handle", "input",
        "instance_id", "item", "kwargs", "life", "line", "sending", "timed", "unsure", "workflow",
    )  # fmt: skip

    handle: Handle[T]
    """The caller's. It hears of the end from now on."""
    instance_id: str
    chosen: bool
    """Whether the id is the caller's."""
    life: int
    input: Raw
    """The encoded arguments."""
    context: Context
    """The caller's context, if the call is checked in another one."""

    def __init__(self, line: Line, workflow: Workflow[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.line = line
        self.workflow = workflow
        """The workflow; once the start is checked, with all headers of this start."""
        self.args = args
        self.kwargs = kwargs
        self.answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.timed = True
        """Whether it fails if the database does not answer in time. A call for many is timed as a whole."""
        self.sending: Sending | None = None
        """What hooks were asked about, and are told once the start is durable."""
        self.exists = self.unsure = False
        """Whether the database has this id; whether it did not say so. In doubt, the start is written without code."""
        self.asked_at = 0
        """How many starts had begun here when the database was asked: its answer may be older than the others."""
        self.item: Item | None = None
        """What is being written. A start whose worker has lost its lease is written again as another item."""
        self.given_up = False
        """Whether the caller waits no longer."""

    def answered(self, outcome: Outcome) -> None:
        """Take the database's answer, and give it to the caller, if the caller still waits."""
        line = self.line
        line.timed.pop(self, None)
        if line.unanswered.pop(self, False):
            line.left += len(self.input) + LEAST
            if line.ready or line.rooms:  # they wait for room
                line.go_on()
        if not self.answer.done():
            self.answer.set_result(outcome)

    def fail(self, error: Exception) -> None:
        """Raise the error in the caller, if the caller still waits."""
        if not self.answer.done():
            self.answer.set_exception(error)
            self.answer.exception()  # marks it as retrieved, in case the caller is cancelled
        self.answered(Outcome.INVALID)

    def expire(self) -> None:
        """Let the caller wait no longer: the database has not answered in time. It may answer yet."""
        if not self.answer.done():
            self.answer.set_exception(self.line.late(self))
