"""The engine on uvloop, which is what uvicorn chooses where it is installed: its timers are not asyncio's."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

import pytest

from romancy import RetryPolicy, Romancy, Status, WorkflowContext, activity, workflow
from romancy_conformance.behaviour.cast import waits
from romancy_conformance.behaviour.waiting import status_is

if TYPE_CHECKING:
    from romancy_conformance.behaviour.opening import Open

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform == "win32", reason="uvloop does not exist on Windows"),
]

MANY = 20


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": True}


@activity(retry=RetryPolicy.fixed(3, 0.01))
async def double(number: int) -> int:
    return 2 * number


@activity
def triple(number: int) -> int:
    return 3 * number


@workflow
async def chained(ctx: WorkflowContext, number: int) -> int:
    await ctx.sleep(0.01)
    tripled, doubled = await asyncio.gather(triple(number), double(number))
    return tripled + doubled


async def test_the_loop_of_these_tests_is_uvloops(app: Romancy) -> None:
    assert "uvloop" in type(asyncio.get_running_loop()).__module__
    assert await app.run(chained, 1) == 5


async def test_workers_side_by_side_share_the_work(app: Romancy, open_app: Open) -> None:
    other = await open_app()
    handles = await app.start_many([chained.bind(number) for number in range(MANY)])
    assert [await handle.result(timeout=60) for handle in handles] == [5 * number for number in range(MANY)]
    waiting = await other.start(waits)
    await status_is(other, waiting.instance_id, Status.WAITING)
    await app.signal(waiting.instance_id, "go", "gone")
    assert await waiting.result(timeout=60) == "gone"


async def test_news_that_come_while_a_worker_asks_do_not_deafen_it(app: Romancy, open_app: Open) -> None:
    """Each notification schedules a look without a delay: uvloop makes such a handle without a time."""
    other = await open_app()
    worker = vars(other)["_access"].worker
    claim, asking, answered = worker.store.claim, asyncio.Event(), asyncio.Event()
    worker.leases.has_peers = lambda: True

    async def slow_claim(request: Any) -> Any:
        asking.set()
        await answered.wait()
        return await claim(request)

    worker.store.claim = slow_claim
    worker.claiming.look()
    await asyncio.wait_for(asking.wait(), 10)
    for _ in range(3):
        worker.claiming.notice(frozenset({"theirs"}))
        await asyncio.sleep(0.001)
    worker.store.claim = claim
    answered.set()
    await app.drain()

    handle = await app.start(chained, 3)
    assert await handle.result(timeout=20) == 15
