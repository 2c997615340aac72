"""A request to stop that is carried out late: the life that it was for was purged, and its id was used again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from romancy import Romancy, WorkflowCancelledError, WorkflowContext, activity, workflow
from romancy.engine.messages import CancelMessage, TerminateMessage, encode_message
from romancy.errors import InstanceNotFoundError, StorageUnavailableError
from romancy.storage.records import Delivered, Delivery
from romancy_conformance.behaviour.stores import WrappedStore, wrap_stores
from romancy_conformance.behaviour.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from romancy.storage.protocol import Store
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

LONG = 60.0


class Held:
    """The activities that wait, and what lets them return."""

    def __init__(self) -> None:
        self.lives = 0
        self.go_on = asyncio.Event()


held: list[Held] = []


@pytest.fixture(autouse=True)
def nothing_is_held() -> Iterator[None]:
    held.append(Held())
    yield
    held.clear()


@activity
async def requested_hold() -> None:
    held[-1].lives += 1
    await held[-1].go_on.wait()


@activity
async def requested_release() -> None:
    held[-1].go_on.set()


@workflow
async def requested_line(ctx: WorkflowContext) -> int:
    """Its worker holds it, so that it is asked to end the instance, and receives what comes in the order of arrival."""
    async with asyncio.TaskGroup() as group:
        group.create_task(requested_hold())
        number = (await ctx.wait_event("go on", model=int)).data
        await requested_release()
    return number


class LateRequests(WrappedStore):
    """A store of which one delivery fails, and waits on its way to the database."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.delayed: list[Sequence[Delivery]] = []

    async def deliver(self, batch: Sequence[Delivery], /) -> list[Delivered]:
        if not self.delayed:
            self.delayed.append(batch)
            raise StorageUnavailableError("no answer came")
        return await self._store.deliver(batch)

    async def carry_out(self) -> list[Delivered]:
        """Carry the delayed delivery out. Its answer goes nowhere."""
        return await self._store.deliver(self.delayed[0])


async def begun(app: Romancy, lives: int) -> None:
    """Start the instance, and wait until a worker holds it by an activity."""
    await app.start(requested_line.options(instance_id="one"))
    await until(lambda: held[-1].lives == lives)


async def ask_late(app: Romancy, how: str) -> None:
    with pytest.raises(StorageUnavailableError):
        await (app.cancel("one") if how == "cancel" else app.terminate("one"))


@pytest.mark.parametrize("how", ["cancel", "terminate"])
async def test_a_late_request_leaves_the_next_life(open_app: Open, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    app = await open_app()
    made = wrap_stores(monkeypatch, LateRequests)
    late = await open_app(worker=False)
    await begun(app, 1)
    await ask_late(late, how)

    assert await app.terminate("one")
    assert 1 == await app.purge("one")
    await begun(app, 2)

    assert [Delivered.ACCEPTED] == await made[0].carry_out()
    await app.signal("one", "go on", 2)
    assert 2 == await app.handle("one", requested_line).result(timeout=LONG)


@pytest.mark.parametrize("how", ["cancel", "terminate"])
async def test_a_late_request_stops_the_life_that_it_is_for(
    open_app: Open, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    app = await open_app()
    made = wrap_stores(monkeypatch, LateRequests)
    late = await open_app(worker=False)
    await begun(app, 1)
    await ask_late(late, how)

    assert [Delivered.ACCEPTED] == await made[0].carry_out()
    with pytest.raises(WorkflowCancelledError):
        await app.handle("one", requested_line).result(timeout=LONG)


@pytest.mark.parametrize("message", [CancelMessage(), TerminateMessage()], ids=["cancel", "terminate"])
async def test_a_request_of_older_code_stops_whatever_life_there_is(
    open_app: Open, store: Store, message: CancelMessage | TerminateMessage
) -> None:
    body = encode_message(message)
    assert b"life" not in body
    app = await open_app()
    await begun(app, 1)

    delivery = Delivery(instance_id="one", delivery_id="older", body=body)
    assert [Delivered.ACCEPTED] == await store.deliver([delivery])
    with pytest.raises(WorkflowCancelledError):
        await app.handle("one", requested_line).result(timeout=LONG)


async def test_what_had_ended_is_not_asked(open_app: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is on the way to the database that a later life could get."""
    app = await open_app()
    wrap_stores(monkeypatch, LateRequests)
    late = await open_app(worker=False)
    await begun(app, 1)
    assert await app.terminate("one")

    assert not await late.terminate("one")
    with pytest.raises(InstanceNotFoundError):
        await late.cancel("nobody")
