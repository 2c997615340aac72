"""A purge that is carried out late: what was there when it was asked for was purged, and its id was used again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from romancy import RetryPolicy, Romancy, Status, WorkflowFailedError, activity
from romancy.errors import StorageUnavailableError
from romancy_conformance.behaviour.calling import calling
from romancy_conformance.behaviour.cast import returns, waits
from romancy_conformance.behaviour.stores import WrappedStore, wrap_stores
from romancy_conformance.changing import changed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy.storage.protocol import Store
    from romancy.storage.records import PruneRequest
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

LONG = 60.0


@activity(retry=RetryPolicy.none())
async def purged_refuse() -> None:
    raise ValueError("the card was declined")


calls_purged_refuse = calling(purged_refuse)


class LatePurges(WrappedStore):
    """A store of which a purge fails, and waits on its way to the database, or finds all rows held at first."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.delays = False
        self.delayed: list[PruneRequest] = []
        self.meanwhile: list[Callable[[], Awaitable[object]]] = []
        """What happens while others hold the rows."""
        self.services = store.services.wrapped(upkeep=lambda upkeep: changed(upkeep, prune=self._prune))

    async def _prune(self, request: PruneRequest, /) -> int:
        if self.delays:
            self.delays = False
            self.delayed.append(request)
            raise StorageUnavailableError("no answer came")
        if self.meanwhile:
            await self.meanwhile.pop()()
            return 0
        return await self._store.services.upkeep.prune(request)

    async def carry_out(self) -> int:
        """Carry the delayed purge out. Its answer goes nowhere."""
        return await self._store.services.upkeep.prune(self.delayed[0])


async def run(app: Romancy, instance_id: str, number: int) -> None:
    handle = await app.start(returns.options(instance_id=instance_id), number)
    assert number == await handle.result(timeout=LONG)


async def run_anew(app: Romancy, instance_id: str, number: int) -> None:
    assert 1 == await app.purge(instance_id)
    await run(app, instance_id, number)


async def status_of(app: Romancy, instance_id: str) -> Status | None:
    found = await app.get_instance(instance_id)
    return None if found is None else found.status


async def late_app(open_app: Open, monkeypatch: pytest.MonkeyPatch) -> tuple[Romancy, LatePurges]:
    """Open an app without a worker whose purge will be late, and return its store as well."""
    made = wrap_stores(monkeypatch, LatePurges)
    app = await open_app(worker=False)
    return app, made[0]


@pytest.mark.parametrize("children", [False, True])
async def test_a_late_purge_leaves_the_next_life(
    open_app: Open, monkeypatch: pytest.MonkeyPatch, *, children: bool
) -> None:
    app = await open_app()
    late, store = await late_app(open_app, monkeypatch)
    await run(app, "one", 1)
    await run(app, "two", 1)
    store.delays = True
    with pytest.raises(StorageUnavailableError):
        await late.purge("one", "two", "nobody", children=children)

    await run_anew(app, "one", 2)
    await run(app, "nobody", 2)

    assert 1 == await store.carry_out()
    assert ["nobody", "one"] == sorted([one.instance_id async for one in app.iter_instances()])
    assert 2 == await app.handle("one", returns).result(timeout=LONG)


async def test_a_late_purge_leaves_what_has_ended_since(open_app: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    app = await open_app()
    late, store = await late_app(open_app, monkeypatch)
    await run(app, "ended", 1)
    await app.start(waits.options(instance_id="open"))
    store.delays = True
    with pytest.raises(StorageUnavailableError):
        await late.purge("ended", "open")

    await app.terminate("open")

    assert 1 == await store.carry_out()
    assert Status.CANCELLED is await status_of(app, "open")


async def test_a_late_purge_leaves_what_was_retried(open_app: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    app = await open_app()
    late, store = await late_app(open_app, monkeypatch)
    handle = await app.start(calls_purged_refuse.options(instance_id="one"))
    with pytest.raises(WorkflowFailedError):
        await handle.result(timeout=LONG)
    store.delays = True
    with pytest.raises(StorageUnavailableError):
        await late.purge("one")

    await app.retry("one")
    with pytest.raises(WorkflowFailedError):
        await handle.result(timeout=LONG)

    assert 0 == await store.carry_out()
    assert Status.FAILED is await status_of(app, "one")


async def test_what_was_held_is_not_purged_in_its_next_life(open_app: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another transaction holds the row, and removes it. The purge is tried again when the id is used anew."""
    app = await open_app()
    late, store = await late_app(open_app, monkeypatch)
    await run(app, "one", 1)
    store.meanwhile.append(lambda: run_anew(app, "one", 2))

    assert 0 == await late.purge("one")
    assert 2 == await app.handle("one", returns).result(timeout=LONG)
