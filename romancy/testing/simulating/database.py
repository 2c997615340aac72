"""The database of a simulation and the wires of its workers, and what can happen to them."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from romancy.testing.simulating.cluster import Cluster
    from romancy.testing.simulating.wire import Wire

__all__ = ["Database"]


class Database:
    """What everybody shares. Faults of it may overlap: the last one that began counts."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.chance = random.Random(f"{cluster.world.seed} database")  # noqa: S311 - a simulation
        self._worse: list[dict[str, Any]] = []
        """What is worse about the weather now, in the order in which it began."""
        self._usual: dict[str, Any] = {}

    def note(self, who: str, what: str, seconds: float | None = None) -> None:
        """Say in the trace what happens to it (`database`) or to the wires (`wire`)."""
        self._cluster.world.note(who, what, "" if seconds is None else f"{seconds:.3f} s")

    async def stall(self, seconds: float) -> None:
        """Let it answer nothing for a while."""
        self._cluster.server.freeze()
        await asyncio.sleep(seconds)
        self._cluster.server.thaw()

    async def weather(self, seconds: float, **worse: Any) -> None:
        """Let the wires be so for a while."""
        weather = self._cluster.weather
        if not self._worse:
            self._usual = dict(vars(weather))
        self._worse.append(worse)
        vars(weather).update(worse)
        try:
            await asyncio.sleep(seconds)
        finally:
            self._worse.remove(worse)
            vars(weather).update(self._usual)
            for each in self._worse:
                vars(weather).update(each)

    def cut(self, share: float) -> None:
        """Break this share of the connections of workers."""
        for wires in self._cluster.wires.values():
            for wire in wires:
                if self._is_a_worker(wire) and self.chance.random() < share:
                    wire.cut()

    async def cut_one_off(self, seconds: float) -> None:
        """Keep one worker from the database while all others reach it."""
        living = [wires for wires in self._cluster.wires.values() if self._is_a_worker(wires[0])]
        if not living:
            return
        wires = self.chance.choice(living)
        for wire in wires:
            wire.cut_off()
        await asyncio.sleep(seconds)
        for wire in wires:
            wire.is_cut_off = False

    def _is_a_worker(self, wire: Wire) -> bool:
        return not wire.process.is_dead and wire.weather is self._cluster.weather
