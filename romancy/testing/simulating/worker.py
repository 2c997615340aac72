"""A worker process of a simulation, and what can happen to it."""

from __future__ import annotations

import asyncio
from contextvars import Context
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from romancy.testing.simulating.world import SECOND

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from romancy.testing.simulating.cluster import Cluster

__all__ = ["MACHINES", "WRONG", "Worker"]

MACHINES: Final = 2
"""How many machines the workers are on."""
WRONG: Final = 3600 * SECOND
"""By how much the time of day of a machine may be wrong."""


class Worker:
    """One worker process. It does nothing until it `begin`s."""

    def __init__(self, cluster: Cluster, name: str, *, machine: int, wrong: int = 0) -> None:
        """Make it from a task that looks after it: `is_over` is an event of that task's loop."""
        self.process = cluster.process(name, machine=machine, wrong=wrong)
        self.told = asyncio.Event()
        """An event of the worker's loop: it was told to stop."""
        self.is_over = asyncio.Event()
        self._cluster = cluster
        self.process.ended.append(partial(_tell, asyncio.get_running_loop(), self.is_over))

    def begin(self, main: Coroutine[Any, Any, Any]) -> None:
        """Run this as its main function."""
        self.process.begin(main, Context())

    def kill(self) -> None:
        """End it between two turns, even when it stands still."""
        if not self.process.is_dead:
            self.process.kill()

    def freeze(self) -> None:
        """Let it stand still until `thaw`."""
        self.process.freeze()

    def thaw(self) -> None:
        """Let it go on where it was."""
        self.process.thaw()

    def drain(self) -> None:
        """Tell it to stop."""
        self.process.world.note(self.process.name, "told to stop")
        self.process.loop.call_soon_threadsafe(self.told.set)

    def set_clock(self) -> None:
        """Set its clock to another time of day."""
        clock = self.process.clock
        clock.ahead = self.process.chance.randint(-WRONG, WRONG)
        self.process.world.note(self.process.name, "clock set", f"{clock.ahead / SECOND:+.3f} s")

    def cut_off(self) -> None:
        """Keep it from the database from now on."""
        for wire in self._cluster.wires[self.process.pid]:
            wire.cut_off()

    def asks(self, call: str) -> bool:
        """Whether it waits for the answer to such a call."""
        return self._cluster.has_under_way(self.process, call)


def _tell(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    loop.call_soon_threadsafe(event.set)
