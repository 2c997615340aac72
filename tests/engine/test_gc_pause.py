"""How a busy worker changes the garbage collector's threshold, and that it restores it."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING

import pytest

from romancy.engine import gc_pause
from romancy.engine.gc_pause import GcPause

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.anyio

USUAL = (701, 9, 11)
EASED = (50_000, 9, 11)


@pytest.fixture(autouse=True)
def usual() -> Iterator[None]:
    before, enabled = gc.get_threshold(), gc.isenabled()
    gc.set_threshold(*USUAL)
    yield
    gc.set_threshold(*before)
    if enabled:
        gc.enable()


async def until_usual() -> None:
    async with asyncio.timeout(30):
        while gc.get_threshold() != USUAL:  # noqa: ASYNC110 - nobody tells when a timer of the loop has put it back
            await asyncio.sleep(0.001)


async def test_for_a_moment_and_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gc_pause, "_MOMENT", 0.01)
    ease = GcPause()
    ease.for_a_moment()
    ease.for_a_moment()
    assert gc.get_threshold() == EASED

    await until_usual()

    ease.for_a_moment()
    assert gc.get_threshold() == EASED
    ease.end()
    assert gc.get_threshold() == USUAL


async def test_the_last_of_several_puts_it_back() -> None:
    one, other = GcPause(), GcPause()
    one.for_a_moment()
    other.for_a_moment()
    one.end()
    one.end()
    assert gc.get_threshold() == EASED
    other.end()
    assert gc.get_threshold() == USUAL


@pytest.mark.parametrize("chosen", [(0, 10, 10), (80_000, 10, 10)], ids=["off", "higher"])
async def test_what_somebody_has_chosen_stays(chosen: tuple[int, int, int]) -> None:
    gc.set_threshold(*chosen)
    ease = GcPause()
    ease.for_a_moment()
    assert gc.get_threshold() == chosen
    ease.end()
    assert gc.get_threshold() == chosen


async def test_what_somebody_chooses_meanwhile_stays() -> None:
    ease = GcPause()
    ease.for_a_moment()
    gc.set_threshold(1234, 5, 6)
    ease.end()
    assert gc.get_threshold() == (1234, 5, 6)
