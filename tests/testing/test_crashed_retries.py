"""A worker that dies at each commit of a retry: the retry after it finds no request of the retry before it."""

from __future__ import annotations

import asyncio

import pytest

from romancy import Handle, RetryPolicy, TerminalError, WorkflowContext, activity, compensation, workflow
from romancy.errors import WorkflowFailedError
from romancy.testing import TestApp

pytestmark = pytest.mark.anyio

broken = [True]


@pytest.fixture
def anyio_backend() -> str:
    """Apps run on asyncio."""
    return "asyncio"


@compensation
async def undo() -> None:
    pass


@activity(compensation=undo)
async def do() -> None:
    pass


@activity(retry=RetryPolicy.none())
async def boom() -> int:
    if broken[0]:
        raise TerminalError("broken")
    return 1


@workflow
async def naps(ctx: WorkflowContext) -> int:
    await do()
    await ctx.sleep(50)
    return 10


@workflow
async def fails(ctx: WorkflowContext) -> int:
    await do()
    return await boom()


@workflow
async def parent(ctx: WorkflowContext) -> int:
    return sum(await asyncio.gather(naps(), fails()))


async def test_the_retry_after_a_crashed_retry_completes() -> None:
    commit = 1
    while await crashed(commit):
        commit += 1

    assert commit > 5


async def crashed(commit: int) -> bool:
    """Retry twice; the worker of the first retry, which fails too, dies after so many commits. False: it had fewer."""
    broken[0] = True
    async with TestApp([parent, naps, fails]) as app:
        handle = await app.start(parent.options(instance_id="p"))
        await fail(handle)
        await app.retry("p")
        died = app.dies_after(commit)
        ending, death = asyncio.create_task(fail(handle)), asyncio.create_task(died.wait())
        await asyncio.wait([ending, death], return_when=asyncio.FIRST_COMPLETED)
        death.cancel()
        ending.cancel()
        await asyncio.wait([ending, death])
        if not died.is_set():
            return False
        await app.crash()
        await fail(handle)
        broken[0] = False
        await app.retry("p")
        assert await handle.result() == 11, f"the worker of the first retry died after commit {commit}"
    return True


async def fail(handle: Handle[int]) -> None:
    with pytest.raises(WorkflowFailedError, match="broken"):
        await handle.result()
