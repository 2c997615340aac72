"""An instance that is due while somebody else holds its row is taken soon after the row is free again.

A claim passes over rows that other transactions hold, and nobody announces that a row is free. So each test states how
late the instance may be at most. Before, it was late by up to the safety poll of its database, 20 seconds.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import pytest

from romancy import InstanceConflictError, Romancy, UsageError, WorkflowCancelledError, WorkflowContext, workflow
from romancy.errors import InstanceEndedError, InstanceNotFoundError
from romancy.storage.backends import create_store
from romancy.storage.records import PruneRequest
from romancy_conformance.behaviour.cast import returns
from romancy_conformance.behaviour.stores import WrappedStore, wrap_stores
from romancy_conformance.contract.fire.contention import has_row_locks

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from romancy.storage.protocol import Store
    from romancy.storage.records import ClaimRequest, Work
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

LATE: Final = 2.0
"""Seconds after which a held instance must have been taken. A claim looks again after a quarter of a second."""
ALL_LATE: Final = 8.0
"""The same for a crowd of instances on a busy machine."""
CROWD: Final = 25
IN_VAIN: Final = 8
"""Claims in vain after which a worker asks as seldom as it ever does."""


class Watched(WrappedStore):
    """Counts the claims that found the instance due and did not get it."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.in_vain = 0
        self.changed = asyncio.Event()

    async def claim(self, request: ClaimRequest, /) -> Work:
        work = await self._store.claim(request)
        if not work.claimed and work.next_due is not None and work.next_due <= work.now:
            self.in_vain += 1
            self.changed.set()
        return work

    async def has_claimed_in_vain(self, times: int) -> None:
        async with asyncio.timeout(30):
            while self.in_vain < times:
                self.changed.clear()
                await self.changed.wait()


@workflow
async def sleeps(ctx: WorkflowContext) -> str:
    await ctx.sleep(2.5)  # longer than a worker keeps an instance that has nothing to do
    return "woke"


@workflow
async def waits(ctx: WorkflowContext) -> object:
    return (await ctx.wait_event("m", timeout=60)).data


@workflow
async def runs_again(ctx: WorkflowContext) -> object:
    """Its first run leaves rows of the log to prune."""
    if ctx.run == 1:
        return runs_again.recur()
    return (await ctx.wait_event("m", timeout=60)).data


@pytest.fixture
async def other(storage_url: str) -> AsyncGenerator[Store]:
    """The database, for somebody who locks rows."""
    store = create_store(storage_url)
    await store.open()
    if not has_row_locks(store):
        await store.close()
        pytest.skip(f"capability: {store.capabilities.name} locks no rows")
    yield store
    await store.close()


async def hold(session: Any, instance_id: str) -> None:
    rows = await session.fetch_all(
        f"select instance_id from romancy_instances where instance_id = '{instance_id}' for update"  # noqa: S608 - an id of this file's
    )
    assert len(rows) == 1


@pytest.mark.parametrize("times", [1, IN_VAIN], ids=["a moment", "a while"])
@pytest.mark.parametrize("peers", [0, 1], ids=["alone", "with a peer"])
async def test_a_start_that_falls_due_while_a_reader_holds_its_row(
    open_app: Open, other: Store, monkeypatch: pytest.MonkeyPatch, times: int, peers: int
) -> None:
    stores = wrap_stores(monkeypatch, Watched)
    app = await open_app()
    for _ in range(peers):
        await open_app()
    handle = await app.start(returns.options(instance_id="held", delay=0.5), "ran")

    async with other.services.sessions.begin() as session:
        await hold(session, "held")
        for store in stores:
            await store.has_claimed_in_vain(times)
        assert await handle.status() == "pending"

    assert await handle.result(timeout=LATE) == "ran"


async def test_a_timer_that_falls_due_while_a_session_holds_the_row(
    open_app: Open, other: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores = wrap_stores(monkeypatch, Watched)
    app = await open_app()
    handle = await app.start(sleeps.options(instance_id="held"))

    async with other.services.sessions.begin() as session:
        await hold(session, "held")
        await stores[0].has_claimed_in_vain(IN_VAIN)

    assert await handle.result(timeout=LATE) == "woke"


async def test_a_held_instance_delays_no_other(open_app: Open, other: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    stores = wrap_stores(monkeypatch, Watched)
    app = await open_app()
    handle = await app.start(returns.options(instance_id="held", delay=0.2), "ran")

    async with other.services.sessions.begin() as session:
        await hold(session, "held")
        await stores[0].has_claimed_in_vain(IN_VAIN)
        free = await app.start(returns.options(delay=0.01), "ran")
        assert await free.result(timeout=LATE) == "ran"

    assert await handle.result(timeout=LATE) == "ran"


async def repeats(app: Romancy, instance_id: str) -> None:
    await app.signal(instance_id, "m", "x", id="k")
    await app.signal(instance_id, "m", "twice", id="k")


async def repeats_at_once(app: Romancy, instance_id: str) -> None:
    await asyncio.gather(*(app.signal(instance_id, "m", "x", id="k") for _ in range(3)))


async def sends_twice(app: Romancy, instance_id: str) -> None:
    for _ in range(2):
        await app.send("m", "x", to=instance_id, id="k" + instance_id)


async def sends_twice_to_all(app: Romancy, instance_id: str) -> None:
    for _ in range(2):
        await app.send("m", "x", key=instance_id, id="k" + instance_id)
    with suppress(InstanceEndedError):  # the events were quick
        await app.signal(instance_id, "m", "x", id="k")


async def starts_again(app: Romancy, instance_id: str) -> None:
    await app.signal(instance_id, "m", "x")
    with suppress(InstanceConflictError):
        await app.start(waits.options(instance_id=instance_id))


async def starts_by_signal(app: Romancy, instance_id: str) -> None:
    call = waits.options(instance_id=instance_id).bind()
    for _ in range(2):
        await app.signal_with_start(call, "m", "x", id="k")


async def retries(app: Romancy, instance_id: str) -> None:
    await app.signal(instance_id, "m", "x")
    with suppress(UsageError):
        await app.retry(instance_id)


async def resumes(app: Romancy, instance_id: str) -> None:
    await app.signal(instance_id, "m", "x")
    with suppress(UsageError):
        await app.resume(instance_id)


async def purges(app: Romancy, instance_id: str) -> None:
    """An instance that has ended by then is removed."""
    await app.signal(instance_id, "m", "x")
    await app.purge(instance_id)


async def prunes(app: Romancy, instance_id: str) -> None:
    """It locks open instances that have run again."""
    await app.signal(instance_id, "m", "x")
    store = app._access.opened()  # pyright: ignore[reportPrivateUsage]  # the app offers no such call
    await store.services.upkeep.prune(PruneRequest())


async def cancels(app: Romancy, instance_id: str) -> None:
    """The instance ends by the signal or by the first of the requests."""
    for request in (app.signal(instance_id, "m", "x"), app.cancel(instance_id), app.terminate(instance_id)):
        with suppress(InstanceEndedError, InstanceNotFoundError):
            await request


@pytest.mark.parametrize(
    "disturbed",
    [
        repeats,
        repeats_at_once,
        sends_twice,
        sends_twice_to_all,
        starts_again,
        starts_by_signal,
        retries,
        resumes,
        purges,
        prunes,
        cancels,
    ],
    ids=lambda function: function.__name__,
)
async def test_a_wake_up_beside_a_call_that_locks_the_row_for_a_moment(
    app: Romancy, disturbed: Callable[[Romancy, str], Awaitable[None]]
) -> None:
    """The second call locks the row when the worker looks for the instance that the first has made due."""

    async def one(number: int) -> None:
        handle = await app.start((runs_again if disturbed is prunes else waits).options(instance_id=f"i{number}"))
        await disturbed(app, handle.instance_id)
        with suppress(WorkflowCancelledError, *([InstanceNotFoundError] if disturbed is purges else [])):
            assert await handle.result(timeout=ALL_LATE) == "x"

    for number in range(CROWD):
        await one(number)
