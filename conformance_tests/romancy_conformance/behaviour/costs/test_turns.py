"""How many turns of the event loop the steps of a lone workflow take: several steps share one, for a moment."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from romancy import Romancy
from romancy_conformance.behaviour.cast import adds_up

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

pytestmark = [pytest.mark.anyio, pytest.mark.backends("sqlite")]

STEPS = 100
EVER = 1000.0


@pytest.fixture
async def app(storage_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Romancy]:
    monkeypatch.setattr("romancy_sqlite._writer._INLINE_LIMIT", float("inf"))  # assume a fast disk
    async with Romancy(storage_url, workflows=[adds_up]) as app:
        yield app


async def turns_beside(app: Romancy) -> int:
    """The turns that another task gets while the workflow runs."""
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(take_turns())
    assert await app.run(adds_up, STEPS) == sum(range(STEPS))
    other.cancel()
    return turns


async def test_steps_share_a_turn(app: Romancy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("romancy.engine.activities.runner._TURN", EVER)
    monkeypatch.setattr("romancy_sqlite._lone_writer._LONGEST_TURN", EVER)
    assert min([await turns_beside(app) for _ in range(3)]) < STEPS


async def test_others_run_when_the_time_is_up(app: Romancy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("romancy.engine.activities.runner._TURN", 0.0)
    assert await turns_beside(app) >= STEPS
