"""`purge_many` removes the instances that it found, except those that have changed in between.

Other actions on many instances pass over those that were removed in between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from romancy import RetryPolicy, Romancy, Status, WorkflowFailedError, activity
from romancy.managing import acting, instances
from romancy.managing.bulk import found_to_act_on
from romancy_conformance.behaviour.calling import calling
from romancy_conformance.behaviour.cast import waits
from romancy_conformance.behaviour.stores import WrappedStore, wrap_stores
from romancy_conformance.changing import changed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from romancy import Instance
    from romancy.storage.protocol import Store
    from romancy.storage.records import PruneRequest
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio


@activity(retry=RetryPolicy.none())
async def found_refuse() -> None:
    raise ValueError("the card was declined")


calls_found_refuse = calling(found_refuse)


class Slow(WrappedStore):
    """A store that runs something before each instance is pruned."""

    def __init__(self, store: Store, happens: Callable[[str], Awaitable[None]]) -> None:
        super().__init__(store)
        self._happens = happens
        self.services = store.services.wrapped(upkeep=lambda upkeep: changed(upkeep, prune=self._prune))

    async def _prune(self, request: PruneRequest, /) -> int:
        for instance_id in request.instance_ids:
            await self._happens(instance_id)
        return await self._store.services.upkeep.prune(request)


async def failed(app: Romancy, instance_id: str) -> None:
    with pytest.raises(WorkflowFailedError):
        await app.handle(instance_id).result(timeout=60)


async def test_what_was_retried_meanwhile_is_left_alone(open_app: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    app = await open_app()
    for instance_id in ("one", "two"):
        await app.start(calls_found_refuse.options(instance_id=instance_id))
        await failed(app, instance_id)
    retried: list[str] = []

    async def retry(instance_id: str) -> None:
        if instance_id == "one" and not retried:
            retried.append(instance_id)
            await app.retry(instance_id)
            await failed(app, instance_id)

    wrap_stores(monkeypatch, lambda store: Slow(store, retry))
    purging = await open_app(worker=False)

    assert await purging.purge_many(status=Status.FAILED) == ["two"]
    assert [one.instance_id async for one in app.iter_instances()] == ["one"]
    assert await purging.purge_many(status=Status.FAILED) == ["one"]


@pytest.mark.parametrize("action", ["cancel_many", "terminate_many"])
async def test_what_was_removed_meanwhile_is_passed_over(
    open_app: Open, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    app = await open_app(worker=False, workflows=[waits])
    await app.start_many([waits.options(instance_id=instance_id).bind() for instance_id in ("one", "two")])

    async def and_then_remove(*where: Any, **options: Any) -> AsyncIterator[Instance]:
        found = [instance async for instance in found_to_act_on(*where, **options)]
        await app.terminate("one")
        await app.purge("one")
        for instance in found:
            yield instance

    monkeypatch.setattr(instances, "found_to_act_on", and_then_remove)

    assert await getattr(app, action)(everything=True) == ["two"]


class Counting(WrappedStore):
    """A store that notes what each transaction is to remove."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.portions: list[int] = []
        self.services = store.services.wrapped(upkeep=lambda upkeep: changed(upkeep, prune=self._prune))

    async def _prune(self, request: PruneRequest, /) -> int:
        self.portions.append(len(request.instance_ids))
        return await self._store.services.upkeep.prune(request)


async def test_many_go_in_few_transactions_of_a_bounded_size(open_app: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    app = await open_app(worker=False, workflows=[waits])
    ids = [f"i-{number}" for number in range(10)]
    await app.start_many([waits.options(instance_id=instance_id).bind() for instance_id in ids])
    await app.terminate_many(workflow_name=waits.name)
    monkeypatch.setattr(acting, "_PURGED_AT_ONCE", 4)
    monkeypatch.setattr(acting, "_ROWS_AT_ONCE", 6)  # each log has two rows
    counted: list[Any] = wrap_stores(monkeypatch, Counting)
    purging = await open_app(worker=False, workflows=[waits])

    assert sorted(await purging.purge_many(status=Status.CANCELLED)) == ids
    assert counted[-1].portions == [3, 3, 3, 1]
    assert await app.count() == 0
