"""An open session blocks all other writers: errors of calls that wait for it, and the log, name its activity."""

from __future__ import annotations

import asyncio
import logging
import re
import sys
from typing import TYPE_CHECKING

import pytest

from romancy import OutcomeUnknownError, activity, activity_context
from romancy.engine import append_slots
from romancy.status import TERMINAL_STATUSES
from romancy_conformance.behaviour.calling import calling
from romancy_conformance.behaviour.waiting import until

if TYPE_CHECKING:
    from romancy import Handle
    from romancy_conformance.behaviour.opening import Open

pytestmark = [pytest.mark.anyio, pytest.mark.backends("memory", "sqlite")]

WITHIN = 0.3
opened: list[asyncio.Event] = []
CANCELS = """
import asyncio, sys
from romancy import OutcomeUnknownError, Romancy

async def main():
    async with Romancy(sys.argv[1], worker=False, answer_within=0.3) as app:
        try:
            await app.cancel(sys.argv[2])
        except OutcomeUnknownError as error:
            print(error)

asyncio.run(main())
"""


@pytest.fixture(autouse=True)
def gate() -> asyncio.Event:
    opened[:] = [asyncio.Event(), asyncio.Event()]
    return opened[1]


@activity
async def blocks_all() -> str:
    await activity_context().session()
    opened[0].set()
    await opened[1].wait()
    return "done"


calls_blocks_all = calling(blocks_all)


async def test_the_error_and_the_log_name_the_activity_that_has_the_session(
    open_app: Open, gate: asyncio.Event, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(append_slots, "_LONG", 0.1)
    app, client = await open_app(), await open_app(worker=False, answer_within=WITHIN)
    handle = await app.start(calls_blocks_all)
    await opened[0].wait()
    named = rf"activity blocks_all \(blocks_all:1\) of instance {handle.instance_id} has had its session open for \d"
    with caplog.at_level(logging.WARNING, "romancy.engine"), pytest.raises(OutcomeUnknownError, match=named) as late:
        await client.cancel(handle.instance_id)
    assert "open it last" in str(late.value)
    await until(lambda: re.search(named, caplog.text))
    assert caplog.text.count("has had its session open") == 1
    gate.set()
    await until(lambda: _has_ended(handle))
    with pytest.raises(OutcomeUnknownError) as nobody:
        raise client._access.deadlines.call("cancel", ["x"]).late()  # pyright: ignore[reportPrivateUsage]
    assert "no activity of this process has a session open" in str(nobody.value)


async def _has_ended(handle: Handle[str]) -> bool:
    return await handle.status() in TERMINAL_STATUSES


@pytest.mark.backends("sqlite")
async def test_another_process_says_what_it_can_know(open_app: Open, storage_url: str, gate: asyncio.Event) -> None:
    app = await open_app()
    handle = await app.start(calls_blocks_all)
    await opened[0].wait()
    other = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CANCELS, storage_url, handle.instance_id, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await other.communicate()
    gate.set()
    assert "it holds the write lock" in said.decode()
    assert "romancy workers" in said.decode()
