"""A process that dies in a library's transaction, or right after it, leaves exactly what its rows say."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from romancy import Romancy, Status
from romancy.engine.worker import claims
from romancy_conformance.behaviour.waiting import status_is
from romancy_conformance.servers import Kind
from tests.sessions.crashing import cells
from tests.sessions.libraries import opened
from tests.sessions.publishing import published
from tests.sessions.workflows import PAID, greet, wait_for_payment

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = [pytest.mark.anyio, pytest.mark.backends("sqlite", *Kind)]


@pytest.mark.long
async def test_a_crash_leaves_what_the_rows_say(storage_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "_SWEEP_EVERY", 0.1)
    before, after = list(cells(storage_url, "before")), list(cells(storage_url, "after"))
    async with Romancy(storage_url, workflows=[greet, wait_for_payment]) as app:
        await _all_wait(app, [*before, *after])
    await _crash(storage_url)

    async with Romancy(storage_url, workflows=[greet, wait_for_payment]) as app:
        for cell in after:
            assert await app.handle(f"start {cell}", greet).result(timeout=60) == f"hello {cell}"
            assert await app.handle(f"wait {cell}", wait_for_payment).result(timeout=60) == 1
        for cell in before:
            assert await app.get_instance(f"start {cell}") is None
            handle = app.handle(f"wait {cell}", wait_for_payment)
            assert await handle.status() is Status.WAITING
            await handle.signal(PAID, 2)
            assert await handle.result(timeout=60) == 2
    async with opened("Session", storage_url) as caller:
        assert sorted(after) == sorted(await caller.names())
    assert sorted(after) == sorted(map(str, await published(storage_url)))


async def _all_wait(app: Romancy, those: Sequence[str]) -> None:
    handles = await app.start_many([wait_for_payment.options(instance_id=f"wait {cell}").bind() for cell in those])
    for handle in handles:
        await status_is(app, handle.instance_id, Status.WAITING)


async def _crash(url: str) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.sessions.crashing", url, cwd=Path(__file__).parents[2]
    )
    try:
        assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
