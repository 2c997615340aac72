"""The app of a simulated worker: fakes for activities, and a world outside that takes its time."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from romancy._microseconds import moment_of
from romancy.app import Romancy
from romancy.testing._fakes import Faking
from romancy.testing._mocks import Stage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from romancy.core import Input
    from romancy.engine.activities.attempt import Attempt, Made
    from romancy.testing.simulating.process import Process
    from romancy.workflow import Workflow

    Returns = Callable[[Process], Awaitable[None]]

__all__ = ["URL", "SimulatedApp"]

URL: Final = "memory://simulated"
_LEASE: Final = 3.0
_USUAL_WAY: Final = 0.02
"""Seconds that it takes on average to reach the world outside, and to come back."""
_LONGEST_WAY: Final = 0.5


class SimulatedApp(Faking, Romancy):
    """The app of one worker of `simulate`, which `prepare` gets before it is opened: `app.mock(…)` works as in tests.

    Each attempt takes a little time before its function is called, and after that. Faults come in between.
    """

    def __init__(self, workflows: Iterable[Workflow[..., Any]], process: Process, returns: Returns) -> None:
        """`process` is where it works. `returns` is awaited whenever an activity has returned."""
        super().__init__(URL, workflows=workflows, lease=_LEASE, warn_when_blocked=None, drain_timeout=1.0)
        self._process = process
        self._returns = returns
        self._chance = random.Random(f"outside {process.world.seed} {process.pid}")  # noqa: S311 - a simulation
        self._stage = Stage(lambda: moment_of(process.world.now))
        self._settings = replace(self._settings, stage=self._made)

    async def _made(self, attempt: Attempt, made: Made) -> Input:
        note, name = self._process.world.note, self._process.name
        definition: Any = attempt.effect.definition
        what = f"{definition.name} ({attempt.id} of {attempt.live.instance_id}, attempt {attempt.effect.attempt})"
        note(name, "begins", what)
        await asyncio.sleep(self._way())
        try:
            event = await self._stage.make(attempt, made)
            await self._returns(self._process)
            await asyncio.sleep(self._way())
        except BaseException as error:
            note(name, "fails", f"{what}: {type(error).__name__}")
            raise
        note(name, "returns from", what)
        return event

    def _way(self) -> float:
        return min(self._chance.expovariate(1 / _USUAL_WAY), _LONGEST_WAY)
