"""A second retry of a parent and its children: nothing that the runs before it sent to each other counts any more."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from romancy import Handle, RetryPolicy, Romancy, Status, WorkflowContext, activity, compensation, workflow
from romancy.engine.messages import CancelMessage, decode_message
from romancy.storage.records import Append, Delivered, Delivery
from romancy_conformance.behaviour.calling import calling
from romancy_conformance.behaviour.cast import record
from romancy_conformance.behaviour.failing import fail
from romancy_conformance.behaviour.stores import WrappedStore, wrap_stores
from romancy_conformance.behaviour.waiting import status_is, until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.storage.protocol import Store
    from romancy.storage.records import Item, Outcome
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio


@compensation
async def unlock(what: str) -> None:
    record.do(f"unlock {what}")
    if "unlock" in record.gates:
        await record.gates["unlock"].wait()


@activity(compensation=unlock)
async def lock(what: str) -> str:
    return record.do(what)


@workflow
async def patient(ctx: WorkflowContext) -> str:
    await lock("door")
    return (await ctx.wait_event("go", model=str)).data


@activity(retry=RetryPolicy.none())
async def ship() -> str:
    await record.gates["ship"].wait()
    return record.do("ship")


calls_ship = calling(ship)


@workflow
async def pair(ctx: WorkflowContext) -> list[str]:
    name = ctx.instance_id
    return list(
        await asyncio.gather(patient.options(instance_id=f"{name}-a")(), calls_ship.options(instance_id=f"{name}-b")())
    )


@workflow
async def over_a_pair(ctx: WorkflowContext) -> list[str]:
    return await pair.options(instance_id="p")()


async def reaches_the_gate(app: Romancy) -> None:
    """Let the hasty child ship, once the patient one waits."""
    await status_is(app, "p-a", Status.WAITING)
    record.gates["ship"].set()


async def fails_once_more(app: Romancy, handle: Handle[Any]) -> None:
    """Let the hasty child fail while the patient one waits, so that the patient one is cancelled."""
    await reaches_the_gate(app)
    await fail(app, handle.instance_id)
    assert await app.handle("p-a").status() is Status.CANCELLED


async def retried(app: Romancy, handle: Handle[Any]) -> None:
    record.gates["ship"] = asyncio.Event()
    await app.retry(handle.instance_id)


async def completes(app: Romancy, handle: Handle[Any]) -> None:
    """Repair what was broken, retry, and let both children complete."""
    record.broken.clear()
    await retried(app, handle)
    await reaches_the_gate(app)
    await status_is(app, "p-b", Status.COMPLETED)
    await app.signal("p-a", "go", "gone")
    assert await handle.result(timeout=60) == ["gone", "ship"]


@pytest.mark.parametrize(("top", "name"), [(pair, "p"), (over_a_pair, "top")], ids=["a child", "a grandchild"])
async def test_each_retry_cancels_only_its_own_children(app: Romancy, top: Any, name: str) -> None:
    record.gates["ship"] = asyncio.Event()
    record.broken.add("ship")
    handle = await app.start(top.options(instance_id=name))
    for _ in range(3):
        await fails_once_more(app, handle)
        await retried(app, handle)
    await fails_once_more(app, handle)

    await completes(app, handle)


async def test_a_cancellation_that_was_sent_twice(open_app: Open, storage_url: str) -> None:
    """The worker of the retry stops while the cancelled child undoes its work, and its successor cancels it again."""
    record.gates["ship"] = asyncio.Event()
    record.broken.add("ship")
    async with Romancy(storage_url, workflows=[pair, patient, calls_ship]) as first:
        handle = await first.start(pair.options(instance_id="p"))
        await fails_once_more(first, handle)
        record.gates["unlock"] = asyncio.Event()
        await retried(first, handle)
        await reaches_the_gate(first)
        await until(lambda: record.names().count("unlock door") == 2)

    app = await open_app()
    await until(lambda: record.names().count("unlock door") == 3)
    record.gates.pop("unlock").set()
    handle = app.handle("p", pair)
    await fail(app, "p")

    await completes(app, handle)


class Overheard(WrappedStore):
    """A store that keeps the last cancellation that a parent has sent to each child."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.cancellations: dict[str, bytes] = {}

    async def commit(self, batch: Sequence[Item], /, *, worker: str | None = None) -> list[Outcome]:
        for item in batch:
            for each in item.deliveries if isinstance(item, Append) else ():
                if isinstance(decode_message(each.body), CancelMessage):
                    self.cancellations[each.instance_id] = each.body
        return await self._store.commit(batch, worker=worker)


async def test_a_cancellation_that_arrives_in_the_next_run(monkeypatch: pytest.MonkeyPatch, open_app: Open) -> None:
    """A worker that stood still sends the cancellation of the first run once more. It is void for the second."""
    stores = wrap_stores(monkeypatch, Overheard)
    app = await open_app()
    handle = await failed_pair(app)
    record.broken.clear()
    await retried(app, handle)
    await status_is(app, "p-a", Status.WAITING)

    late = Delivery(instance_id="p-a", delivery_id="late", body=stores[0].cancellations["p-a"])
    assert await stores[0].deliver([late]) == [Delivered.ACCEPTED]

    await reaches_the_gate(app)
    await status_is(app, "p-b", Status.COMPLETED)
    await app.signal("p-a", "go", "gone")
    assert await handle.result(timeout=60) == ["gone", "ship"]


async def failed_pair(app: Romancy) -> Handle[list[str]]:
    """A pair of which the hasty child failed, so that the patient one was cancelled."""
    record.gates["ship"] = asyncio.Event()
    record.broken.add("ship")
    handle = await app.start(pair.options(instance_id="p"))
    await fails_once_more(app, handle)
    record.gates["ship"] = asyncio.Event()
    return handle


async def test_a_person_who_cancels_twice_cancels_one_run(app: Romancy) -> None:
    record.gates.update({"ship": asyncio.Event(), "unlock": asyncio.Event()})
    handle = await app.start(pair.options(instance_id="p"))
    await status_is(app, "p-a", Status.WAITING)
    await app.cancel("p-a")
    await until(lambda: "unlock door" in record.names())
    await app.cancel("p-a")
    record.gates.pop("unlock").set()
    await fail(app, "p")

    await completes(app, handle)


async def test_a_child_that_a_person_retried_and_cancelled(app: Romancy) -> None:
    """It runs when its parent is retried. Its end counts, as that of a run of which the parent's retry knows."""
    handle = await failed_pair(app)
    await app.retry("p-b")
    await app.retry("p")
    await status_is(app, "p-a", Status.WAITING)

    await app.cancel("p-b")
    await fail(app, "p")
    assert [await app.handle(child).status() for child in ("p-a", "p-b")] == [Status.CANCELLED] * 2
    assert record.names().count("ship") == 1

    await completes(app, handle)


async def test_a_child_that_a_person_retried_is_given_up(app: Romancy) -> None:
    handle = await failed_pair(app)
    await app.retry("p-b")
    await app.retry("p")
    await status_is(app, "p-a", Status.WAITING)

    await app.cancel("p-a")
    await fail(app, "p")
    assert await app.handle("p-b").status() is Status.CANCELLED

    await completes(app, handle)


@pytest.mark.parametrize("ending", ["completes", "fails", "is given up"])
async def test_a_child_that_a_person_retries_right_after_its_parent(
    open_app: Open, storage_url: str, ending: str
) -> None:
    """The retry of the parent finds the child running on behalf of nobody that it knows."""
    front = await open_app(worker=False)
    async with Romancy(storage_url, workflows=[pair, patient, calls_ship]) as app:
        await failed_pair(app)
    await front.retry("p")
    await front.retry("p-b")
    if ending == "completes":
        record.broken.clear()

    app = await open_app()
    handle = app.handle("p", pair)
    await status_is(app, "p-a", Status.WAITING)
    if ending == "completes":
        record.gates["ship"].set()
        await status_is(app, "p-b", Status.COMPLETED)
        await app.signal("p-a", "go", "gone")
        assert await handle.result(timeout=60) == ["gone", "ship"]
        return
    if ending == "fails":
        record.gates["ship"].set()
    else:
        await app.cancel("p-a")
    await fail(app, "p")
    assert record.names().count("ship") == (3 if ending == "fails" else 1), (
        "the parent's own retry of the child failed too"
    )
    await completes(app, handle)
