"""A simulated process: an event loop, a clock that may be wrong, a pid on a machine, and a life that may end."""

from __future__ import annotations

import math
import random
from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING, Any, Final

from romancy.engine.surroundings import Surroundings
from romancy.storage.records import Host
from romancy.testing.simulating.loop import SimulatedLoop
from romancy.testing.simulating.world import SECOND

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Coroutine
    from contextvars import Context

    from romancy.testing.simulating.world import World

__all__ = ["Clock", "Process", "Processes"]

_GRAVEYARD: Final[list[Process]] = []
"""The processes that were killed. If their coroutines were collected, Python would run every `finally` of theirs."""
_USUAL_TURN: Final = 60
"""Microseconds that a turn of an event loop takes on average."""


class Clock:
    """A process's own clocks. They begin anywhere, run a little too fast or too slow, and tell a wrong time of day."""

    def __init__(self, world: World, chance: random.Random, *, wrong: int = 0) -> None:
        """`wrong` is by how many microseconds the time of day may be wrong."""
        self._world = world
        self._began = world.now
        self._base = chance.randrange(SECOND, 10**6 * SECOND)
        self.rate = 1.0 + chance.uniform(-2e-4, 2e-4)
        self.ahead = chance.randint(-wrong, wrong)
        """By how much the time of day is wrong. It may change: somebody sets the clock."""

    def since_boot(self) -> float:
        """In microseconds."""
        return self._base + (self._world.now - self._began) * self.rate

    def seconds(self) -> float:
        return self.since_boot() / SECOND

    def wall(self) -> int:
        """In microseconds since 1970."""
        return self._world.now + self.ahead

    def true_time(self, seconds: float) -> int:
        """The true time at which `seconds` is certainly reached."""
        return self._began + math.ceil((seconds * SECOND - self._base) / self.rate) + 1


class _Inline(Executor):
    """Runs a function where it is submitted, at once."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001 - as an executor does
            future.set_exception(error)
        return future


class _Simulated(Surroundings):
    """What the engine finds around it in a simulated process."""

    def __init__(self, process: Process, clock: Clock, chance: random.Random) -> None:
        self._process = process
        self._clock = clock
        self.seconds = clock.seconds
        self.uniform = chance.uniform
        self.octets = chance.randbytes
        self.since_boot = self._since_boot

    def _since_boot(self) -> int:
        return int(self._clock.since_boot() * 1000)

    def wall(self) -> int:
        return self._clock.wall() * 1000

    def token(self) -> str:
        return self.octets(8).hex()

    def name(self) -> str:
        return self._process.name

    def host(self) -> Host:
        return self._process.host

    def certainly_gone(self, other: Host, own: Host) -> bool:
        return self._process.sees_gone(other, own)

    def threads(self, most: int, name: str) -> Executor:  # noqa: ARG002 - there is one thread
        return _Inline()


class Process:
    """One process of the cluster."""

    def __init__(self, world: World, processes: Processes, name: str, *, machine: int = 0, wrong: int = 0) -> None:
        self.world = world
        self.name = name
        self._processes = processes
        self.pid = processes.next_pid()
        self.host = Host(boot_id=f"machine-{machine}", pid_namespace="simulated", pid=self.pid, pid_start=self.pid)
        self.chance = random.Random(f"{world.seed} {name} {self.pid}")  # noqa: S311 - a simulation
        self.clock = Clock(world, self.chance, wrong=wrong)
        self.loop = SimulatedLoop(_Simulated(self, self.clock, self.chance), self.wake)
        self.is_dead = self.is_frozen = False
        self.status: int | None = None
        """How it ended. None: it has not."""
        self.is_eager = False
        """Whether nothing comes between two of its turns."""
        self._task: asyncio.Task[Any] | None = None
        self._planned: int | None = None
        """When the next turn is due."""
        self._busy_until = 0
        self.ended: list[Callable[[], None]] = []
        """Are called when it ends: its connections are closed."""
        self.error: BaseException | None = None
        """What its main function has raised, and what it has returned."""
        self.result: Any = None
        processes.add(self)

    def begin(self, main: Coroutine[Any, Any, Any], context: Context | None = None) -> None:
        """Run this as the process. It ends when this ends."""
        self._task = self.loop.create_task(main, context=context)
        self._task.add_done_callback(self._has_ended)
        self.world.note(self.name, "begun", f"pid {self.pid} on {self.host.boot_id}")
        self.wake()

    def _has_ended(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled():
            self.error = task.exception()
            self.result = None if self.error is not None else task.result()
        self._end(0 if self.error is None else 1)

    def kill(self) -> None:
        """It runs no further line of its code."""
        if not self.is_dead:
            _GRAVEYARD.append(self)
        self._end(-9)

    def _end(self, status: int) -> None:
        if self.is_dead:
            return
        self.is_dead, self.status = True, status
        self.world.note(self.name, "died" if status == -9 else "ended", str(status))  # noqa: PLR2004 - a signal
        for told in self.ended:
            told()

    def freeze(self) -> None:
        """It stands still, and does not know."""
        self.is_frozen = True
        self.world.note(self.name, "frozen")

    def thaw(self) -> None:
        """It goes on where it was."""
        if self.is_frozen:
            self.is_frozen = False
            self.world.note(self.name, "thawed")
            self.wake()

    def sees_gone(self, other: Host, own: Host) -> bool:
        """Whether a process of the same machine has certainly ended."""
        return other.boot_id == own.boot_id and self._processes.is_gone(other.pid)

    # ── turns ───────────────────────────────────────────────────────────────────────────────────────────────────

    def wake(self) -> None:
        """Something is ready: plan a turn."""
        self._plan(max(self.world.now, self._busy_until))

    def _plan(self, due: int) -> None:
        if self.is_dead or self.is_frozen or (self._planned is not None and self._planned <= due):
            return
        self._planned = due
        self.world.at(due, self._turn)

    def _turn(self) -> None:
        if self._planned is None or self._planned > self.world.now:
            return  # an earlier turn has taken the place of this one
        self._planned = None
        if self.is_dead or self.is_frozen:
            return
        self.world.turns += 1
        self._processes.turning = self
        self.loop.turn(until_idle=self.is_eager)
        self._busy_until = self.world.now + 1 + int(self.chance.expovariate(1 / _USUAL_TURN))
        if self.loop.is_ready:
            self._plan(self._busy_until)
        elif (timer := self.loop.next_timer) is not None:
            self._plan(max(self.clock.true_time(timer), self._busy_until))


class Processes:
    """All processes of a simulation, also the dead."""

    def __init__(self) -> None:
        self._all: dict[int, Process] = {}
        self.turning: Process | None = None
        """The process that was turned last. While code of a process runs, this is that process."""

    def next_pid(self) -> int:
        return 100 + len(self._all)

    def add(self, process: Process) -> None:
        self._all[process.pid] = process

    def is_gone(self, pid: int) -> bool:
        found = self._all.get(pid)
        return found is None or found.is_dead

    def kill_all(self) -> None:
        for process in self._all.values():
            process.kill()

    @property
    def errors(self) -> list[tuple[str, dict[str, Any]]]:
        """What nobody has caught, in which process."""
        return [(each.name, error) for each in self._all.values() for error in each.loop.errors]
