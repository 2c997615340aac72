"""One attempt at an activity or a compensation: its state, and what its activity can ask of the engine."""

from __future__ import annotations

import asyncio
from asyncio import CancelledError
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import Struct

from romancy.attempt_context import ActivityContext
from romancy.core import StartActivity, StartCompensation
from romancy.engine.activities.attempt_lines import AttemptLines
from romancy.engine.activities.plain_context import PlainActivityContext
from romancy.engine.activities.port import GIVEN_UP, Port, Tools
from romancy.engine.activities.stopping import Stop
from romancy.engine.clock import Timer
from romancy.engine.instance import Live
from romancy.engine.stream_keeper import AttemptStreams
from romancy.errors import RomancyError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from contextlib import AbstractContextManager

    from msgspec import Raw

    from romancy.core import Input, Message
    from romancy.errors import StorageUnavailableError
    from romancy.session import Companion
    from romancy.storage.isolation import IsolationLevel
    from romancy.stream import Writing

    Made = Callable[["Attempt", Any], Coroutine[Any, Any, Input]]
    """Makes an attempt with the function of a definition."""
    Stage = Callable[["Attempt", Made], Coroutine[Any, Any, Input]]
    """A test's way to make attempts, perhaps with another definition."""

__all__ = ["Attempt", "id_of"]

T = TypeVar("T")


def id_of(effect: StartActivity | StartCompensation) -> str:
    """The id of the activity or compensation in the log."""
    return effect.compensation_id if isinstance(effect, StartCompensation) else effect.activity_id


class Attempt(Struct, eq=False):
    """One attempt at an activity or a compensation, queued, running or about to end.

    The activity's context calls it. Most activities need neither a context nor a port, so each is made on first use.
    Its state is written by `Attempts`, and by nobody else: methods for that would cost several calls a step.
    """

    tools: Tools
    live: Live
    effect: StartActivity | StartCompensation
    id: str
    nonce: str
    asked: int = 0
    """When the attempt was due (µs). Recorded only if hooks want to know."""
    task: asyncio.Task[None] | None = None
    timer: Timer | None = None
    port: Port | None = None
    stop: Stop | None = None
    """That it was asked to stop, by its workflow, by a limit or because the engine dropped it."""
    began: bool = False
    """Whether its task has run. A task cancelled before that never runs and reports nothing."""
    ending: bool = False
    """Whether its end is decided and about to be reported."""
    returned: bool = False
    """Whether its function has returned. A failure after that is no reason to repeat the work."""
    waits_since: float = 0.0
    """When the attempt began to wait for a slot, by a monotonic clock. 0: it has not waited."""
    queued: int = 0
    """How many microseconds the attempt waited for a slot."""
    is_cut_off: bool = False
    """Whether nothing that it does from now on takes effect."""
    rests: bool = False
    """Whether it only waits for another instance. If it is dropped then, another attempt finds what it waits for."""

    __repr__ = object.__repr__

    def __call__(self) -> ActivityContext:
        """The context of its activity."""
        effect = self.effect
        definition: Any = effect.definition
        details = effect.details if isinstance(effect, StartActivity) else None
        kind = ActivityContext if definition.is_async else PlainActivityContext
        return kind(self, self.live.instance_id, self.id, effect.attempt, self.nonce, details, key=effect.key)

    @property
    def is_wanted(self) -> bool:
        """Whether its instance still waits for its end."""
        return self.live.attempts.get(self.id) is self

    def asks_to_stop(self) -> Stop:
        """Record that it is asked to stop. Its activity can see that from now on."""
        stop = self.stop
        if stop is None:
            stop = self.stop = Stop()
        return stop

    def waits_for_thread(self) -> bool:
        """Whether its task, which was just cancelled, goes on waiting for the function on its thread."""
        stop = self.stop
        if stop is None or not stop.takes_notice() or not self.is_wanted:
            return False
        stop.on_thread = True
        return True

    def was_killed(self) -> None:
        """Record that the process of its function was killed before it answered."""
        if self.stop is not None:
            self.stop.unknown = True

    def is_over(self) -> None:
        """Record that nothing that the attempt does from now on takes effect."""
        self.is_cut_off = True
        if self.port is not None:
            self.port.over = True

    def excuse(self, error: Exception) -> StorageUnavailableError | None:
        """The database error that took the attempt's session away; None if the exception has another cause."""
        return None if self.port is None else self.port.excuse(error)

    def open(self) -> Port:
        """The port of the attempt, opened on first use."""
        port = self.port
        if port is None:
            port = self.port = Port(self.tools, self.live, self.effect, self.id, over=self.is_cut_off)
        return port

    def goes_on_behind(self) -> None:
        """Write to streams, if former attempts of its number have, that what these wrote is void."""
        self.open().streams = AttemptStreams(self.tools.streams, self.live, self.id, self.effect.attempt)

    async def streamed(self) -> int:
        """Its number, once all that it wrote to streams is in the database. 0: it wrote nothing, or that failed."""
        if self.port is None or self.port.streams is None:
            return 0
        try:
            await self.port.streams.finish()
        except RomancyError:
            return 0
        return self.effect.attempt

    def has_stopped(self) -> None:
        """Record that the cancelled attempt has stopped: the engine no longer waits for its end."""
        self.ending = True
        if self.timer is not None:
            self.timer.cancel()

    async def give_up(self) -> None:
        """Discard what a failed or cancelled attempt did: its writes, messages and callbacks take no effect."""
        self.is_cut_off = True
        if self.port is not None:
            await self.port.give_up()

    async def finish(self) -> None:
        """Flush what a library's session and streams still hold back, after the function has returned."""
        port = self.port
        if port is None:
            return
        try:
            if port.companion is not None:
                await port.companion.finish()
        except UsageError:
            self.returned = True  # a repetition would fail in the same way
            raise
        if port.streams is not None:
            await port.streams.finish()

    async def close(self) -> None:
        """End its session, if it has one. Uncommitted writes are rolled back."""
        if self.port is not None:
            await self.port.close()

    # ── what the activity's context asks ────────────────────────────────────────────────────────────────────────

    @property
    def workflow_name(self) -> str:
        return self.live.definition.name

    @property
    def lines(self) -> AttemptLines | None:
        """What keeps its log lines. None: nothing does."""
        keeper = self.tools.keeper
        return None if keeper is None else AttemptLines(keeper, self.live, self.id, self.effect.attempt)

    @property
    def told_to_stop(self) -> bool:
        return self.stop is not None or self.is_cut_off

    @property
    def place(self) -> object:
        return self.tools.store

    @property
    def companion(self) -> Companion | None:
        return None if self.port is None else self.port.companion

    @companion.setter
    def companion(self, companion: Companion | None) -> None:
        self.open().companion = companion

    async def session(self, native: type[Any] | None, isolation: IsolationLevel | None = None, /) -> Any:
        return await self.open().session(native, isolation)

    def wait(self, work: Callable[[], Coroutine[Any, Any, T]], /) -> T:
        task = self.task
        if task is None:
            raise CancelledError(GIVEN_UP)
        return self.open().wait(task.get_loop(), work)

    def resting(self) -> AbstractContextManager[object]:
        return self.tools.resting(self)

    def heartbeat(self, details: Raw | None, /) -> None:
        self.open().heartbeat(details)

    def stream(self, name: str, /) -> Writing:
        task = self.task
        if task is None:
            raise CancelledError(GIVEN_UP)
        return self.open().stream(name, task.get_loop())

    async def publish(self, type: str, data: Raw, key: str | None, /) -> None:
        await self.open().publish(type, data, key)

    async def send(self, message: Message, to: str | None, /) -> str:
        return await self.open().send(message, to)

    def after_commit(self, callback: Callable[[], Any], /) -> None:
        self.open().after_commit(callback)
