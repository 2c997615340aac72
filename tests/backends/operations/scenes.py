"""What the tests of operations share."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any

from romancy.status import Status
from romancy.storage.records import Outcome
from romancy.storage.sqlkit.statements import Running
from romancy_conformance.contract.building import Actor, append, change, unique
from romancy_conformance.contract.interleaving import statements
from romancy_conformance.contract.routing.scenes import Receiver

if TYPE_CHECKING:
    from collections.abc import Awaitable

    import pytest

    from romancy.storage.protocol import Store
    from romancy.storage.records import Peer


def dialect(store: Store) -> str:
    """The adapter of a store."""
    return type(store).__module__.partition(".")[0].removeprefix("romancy_")


async def sent_by(store: Store, call: Awaitable[object], packets: list[str]) -> str:
    """What this call sends, but for the report of changes, which many calls share."""
    if dialect(store) == "mysql":
        packets.clear()
        await call
        return " | ".join(packets)
    unheard = {"sqlite": {"begin", "commit"}, "postgres": {"notify"}}[dialect(store)]
    return " ".join(one.split()[0] for one in await statements(store, call) if one not in unheard)


class Begun:
    """The operations that are begun, and whether all of them are over."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.operations: list[Any] = []
        self._open = 0
        self._over = asyncio.Event()
        loop = asyncio.get_running_loop()
        kind: Any = Running
        init, close = kind.__init__, kind.close

        def begun(running: Running[Any], operation: Any, *own: Any) -> None:
            self.operations.append(operation)
            loop.call_soon_threadsafe(self._count, 1)
            init(running, operation, *own)

        def closed(running: Running[Any]) -> None:
            close(running)
            loop.call_soon_threadsafe(self._count, -1)

        monkeypatch.setattr(Running, "__init__", begun)
        monkeypatch.setattr(Running, "close", closed)

    def _count(self, more: int) -> None:
        self._open += more
        if self._open:
            self._over.clear()
        else:
            self._over.set()

    async def over(self) -> None:
        """Wait until each operation that was begun is closed."""
        async with asyncio.timeout(60):
            await self._over.wait()
        assert {inspect.GEN_CLOSED} == {inspect.getgeneratorstate(one) for one in self.operations}
        self.operations.clear()


async def ended_instances(store: Store) -> tuple[str, ...]:
    """Instances that have ended."""
    actor = await Actor(store, workflows={unique("flow"): "c1"}).register()
    begun = [await actor.begin() for _ in range(2)]
    for one in begun:
        assert Outcome.ACCEPTED is await actor.write(append(one, 2, change=change(Status.COMPLETED)))
    return tuple(one.instance_id for one in begun)


async def victim_of(store: Store) -> tuple[Actor, Peer, list[str]]:
    """A worker, another one as it sees it, and what the other one owns."""
    survivor, victim = [await Actor(store, workflows={unique("flow"): "c1"}).register() for _ in range(2)]
    begun = [await victim.begin() for _ in range(3)]
    return survivor, await survivor.see(victim), sorted(one.instance_id for one in begun)


async def receiver(store: Store) -> Receiver:
    actor = await Actor(store, workflows={unique("flow"): "c1"}).register()
    return Receiver(actor, await actor.begin())
