"""The time limit of calls that wait for the database: progress renews it, and a blocked process gets a moment more."""

from __future__ import annotations

import asyncio
import time

import pytest

from romancy import OutcomeUnknownError, StorageUnavailableError
from romancy._deadlines import Deadlines

pytestmark = pytest.mark.anyio

LIMIT = 0.3


async def test_a_call_without_an_answer_ends() -> None:
    deadlines = Deadlines(LIMIT)

    with pytest.raises(OutcomeUnknownError, match="has not answered within"), deadlines.call("start", ["o-1"]):
        await asyncio.Event().wait()


async def test_a_call_that_sent_nothing_says_so() -> None:
    deadlines = Deadlines(LIMIT)

    timed = deadlines.call("start")
    timed.instance_ids = None
    with pytest.raises(StorageUnavailableError, match="nothing was sent") as caught, timed:
        await asyncio.Event().wait()
    assert not isinstance(caught.value, OutcomeUnknownError)


async def test_progress_renews_the_time() -> None:
    deadlines = Deadlines(LIMIT)
    begun = time.monotonic()

    with deadlines.call("start") as timed:
        assert list(range(250)) == list(timed.renewing(range(250)))
        for _ in range(30):
            await asyncio.sleep(LIMIT / 15)
            timed.renew()

    assert time.monotonic() - begun > LIMIT


async def test_a_process_that_was_blocked_takes_the_answer_that_has_come() -> None:
    deadlines = Deadlines(LIMIT)
    loop = asyncio.get_running_loop()

    with deadlines.call("start"):
        answer = loop.create_future()
        loop.call_soon(time.sleep, LIMIT + 0.8)  # this process answers nobody
        loop.call_later(LIMIT, lambda: loop.call_soon(answer.set_result, None))
        await answer


async def test_a_cancellation_by_the_caller_stays_one() -> None:
    deadlines = Deadlines(60)

    async def waits() -> None:
        with deadlines.call("start"):
            await asyncio.Event().wait()

    task = asyncio.create_task(waits())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
