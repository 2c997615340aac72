"""One attempt at an activity or a compensation: where it stands, and what its activity can ask of the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from romancy.context import ActivityContext, PlainActivityContext
from romancy.core import StartActivity, StartCompensation
from romancy.engine.activities.port import Port

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from msgspec import Raw

    from romancy.engine.append_slots import Slots
    from romancy.engine.instance import Live
    from romancy.errors import StorageUnavailableError
    from romancy.storage.protocol import Store

__all__ = ["Attempt", "Tools", "id_of"]


def id_of(effect: StartActivity | StartCompensation) -> str:
    """The id under which the log knows it."""
    return effect.compensation_id if isinstance(effect, StartCompensation) else effect.activity_id


class Tools(NamedTuple):
    """What every attempt of a worker can make use of."""

    store: Store
    stamp: Callable[[], str]
    slots: Slots | None
    """Where sessions take the append slots of their instances."""
    errors: frozenset[str] = frozenset()
    """The names of the exception types that workflows catch as themselves."""


class Attempt:
    """One attempt at an activity or a compensation, queued, running or about to end.

    It is what the activity's context asks. Most activities ask for neither: the context is made, and the port opens,
    when one does.
    """

    __slots__ = (
        "_over",
        "began",
        "cancelled",
        "effect",
        "ending",
        "id",
        "live",
        "nonce",
        "port",
        "returned",
        "task",
        "timer",
        "tools",
    )

    def __init__(self, tools: Tools, live: Live, effect: StartActivity | StartCompensation) -> None:
        self.tools = tools
        self.live = live
        self.effect = effect
        self.id = effect.activity_id if type(effect) is StartActivity else id_of(effect)
        started = live.run.state.started
        assert started is not None  # noqa: S101 - nothing is scheduled before the start
        self.nonce = started.nonce
        self.task: asyncio.Task[None] | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.port: Port | None = None
        self.cancelled = False
        """Asked to stop by its workflow (and not by the engine)."""
        self.began = False
        """Its task has run: one cancelled before that never does, and tells nothing."""
        self.ending = False
        """It is decided how it ends, and on its way to be told."""
        self.returned = False
        """Its function has done its work: what fails from here on is no reason to have it done again."""
        self._over = False

    def __call__(self) -> ActivityContext:
        """The context of its activity."""
        effect = self.effect
        definition: Any = effect.definition
        details = effect.details if isinstance(effect, StartActivity) else None
        kind = ActivityContext if definition.is_async else PlainActivityContext
        return kind(self, self.live.instance_id, self.id, effect.attempt, self.nonce, details, key=effect.key)

    def excuse(self, error: Exception) -> StorageUnavailableError | None:
        """Why what it raised is not its fault, if its session was taken away from it."""
        return None if self.port is None else self.port.excuse(error)

    def open(self) -> Port:
        """Its port, from now on."""
        port = self.port
        if port is None:
            port = self.port = Port(self.tools, self.live, self.effect, self.id)
            port.over = self._over
        return port

    def has_stopped(self) -> None:
        """It was cancelled and took it: nobody needs to wait for its last word any more."""
        self.ending = True
        if self.timer is not None:
            self.timer.cancel()

    async def give_up(self) -> None:
        """The attempt has failed or was cancelled: nothing that it wrote, sent or wanted called has happened."""
        self._over = True
        if self.port is not None:
            await self.port.give_up()

    async def close(self) -> None:
        """End its session, if it has one: what was not committed is rolled back."""
        if self.port is not None:
            await self.port.close()

    # ── what the activity's context asks ────────────────────────────────────────────────────────────────────────

    async def session(self, native: type[Any] | None, /) -> Any:
        return await self.open().session(native)

    def heartbeat(self, details: Raw | None, /) -> None:
        self.open().heartbeat(details)

    async def publish(self, type: str, data: Raw, key: str | None, /) -> None:
        await self.open().publish(type, data, key)

    def after_commit(self, callback: Callable[[], Any], /) -> None:
        self.open().after_commit(callback)
