"""However many wait for answers of one instance, its log is read for all of them together."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from romancy import InstanceEndedError, RequestTimeoutError, RequestType, WorkflowContext, workflow
from romancy_conformance.behaviour.stores import WrappedStore, wrap_stores

if TYPE_CHECKING:
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

Double = RequestType("double", int, int)
Never = RequestType("never", None, int)
Close = RequestType("close", None, None)
SENDERS = 200
MOST = 12
"""How many rows a request may read, whoever else asks."""


@workflow
async def many_requests(ctx: WorkflowContext, in_a_run: int, answered: int) -> int:
    """Answer requests, so many in a run. Nobody answers those to `Never`."""
    closed, before = False, answered

    async def double(number: int) -> int:
        nonlocal answered
        answered += 1
        return 2 * number

    async def close() -> None:
        nonlocal closed
        closed = True

    async with ctx.handling(Double.by(double), Close.by(close)):
        await ctx.until(lambda: closed or answered - before >= in_a_run)
        await ctx.all_handled()
        if not closed:
            many_requests.recur(in_a_run, answered)
    return answered


class Counting(WrappedStore):
    """A store that counts the rows of logs that it gives."""

    rows = 0

    async def read(self, *given: Any, **options: Any) -> Any:
        found = await self._store.read(*given, **options)
        self.rows += 0 if found is None else len(found.rows)
        return found


@pytest.mark.parametrize("in_a_run", [1000, 17])
async def test_many_senders_read_the_log_together(
    open_app: Open, monkeypatch: pytest.MonkeyPatch, in_a_run: int
) -> None:
    stores = wrap_stores(monkeypatch, Counting)
    await open_app()
    other = await open_app(worker=False)
    handle = await other.start(many_requests, in_a_run, 0)
    asked = [await handle.ask(Double, number, id=f"r{number}") for number in range(SENDERS)]
    before = stores[1].rows

    replies = await asyncio.gather(*(one.reply(60) for one in asked), handle.request(Double, -1, timeout=60))

    assert replies == [*range(0, 2 * SENDERS, 2), -2]
    assert stores[1].rows - before <= MOST * SENDERS
    again = [await handle.ask(Double, number, id=f"r{number}") for number in range(0, SENDERS, 50)]
    assert await asyncio.gather(*(one.reply(60) for one in again)) == [0, 100, 200, 300], "found in the log"


async def test_one_that_gives_up_lets_another_one_read(open_app: Open) -> None:
    await open_app()
    other = await open_app(worker=False)
    handle = await other.start(many_requests, 1000, 0)
    impatient = [asyncio.create_task(handle.request(Never, timeout=0.2)) for _ in range(3)]
    stopped = asyncio.create_task(handle.request(Never))
    patient = [asyncio.create_task(handle.request(Never, timeout=60)) for _ in range(3)]

    found = await asyncio.gather(*impatient, return_exceptions=True)
    stopped.cancel()
    assert [type(one) for one in found] == [RequestTimeoutError] * 3
    assert await handle.request(Double, 4, timeout=60) == 8
    await handle.request(Close, timeout=60)

    ended = await asyncio.gather(*patient, return_exceptions=True)
    assert [type(one) for one in ended] == [InstanceEndedError] * 3
    assert await handle.result() == 1
