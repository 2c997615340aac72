"""A loop whose clock has the steps of Windows, 15.6 ms: waits neither end early nor are looked at all the time."""

from __future__ import annotations

import asyncio
import time
from typing import Final

import pytest

from romancy.engine.clock import DatabaseClock

STEP: Final = 0.015625
WAITS: Final = (0.001, 0.02, 0.05, 0.1)


class CoarseLoop(asyncio.SelectorEventLoop):
    """A loop that reads such a clock, and says so, as those of Windows do before Python 3.13."""

    def __init__(self) -> None:
        super().__init__()
        self._clock_resolution = STEP
        self.turns = 0

    def time(self) -> float:
        return time.monotonic() // STEP * STEP

    def _run_once(self) -> None:
        self.turns += 1
        super()._run_once()  # type: ignore[misc] # the loop's own


@pytest.mark.parametrize("wait", WAITS)
def test_a_moment_is_not_early_and_takes_few_turns(wait: float) -> None:
    """As timers of workflows wait: they ask the database's clock again when the loop calls them."""

    async def main() -> tuple[float, int, int]:
        clock, over, calls, loop = DatabaseClock(), asyncio.Event(), 0, asyncio.get_running_loop()
        assert isinstance(loop, CoarseLoop)
        due = clock.now() + round(wait * 1_000_000)

        def look() -> None:
            nonlocal calls
            calls += 1
            if clock.now() < due:
                clock.call_at(due, look)
            else:
                over.set()

        turns = loop.turns
        clock.call_at(due, look)
        await over.wait()
        return (clock.now() - due) / 1_000_000, calls, loop.turns - turns

    with asyncio.Runner(loop_factory=CoarseLoop) as runner:
        late, calls, turns = runner.run(main())

    assert late >= 0
    assert calls <= 4
    assert turns <= 10
