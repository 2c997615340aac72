"""One round of chaos in simulated time, in a process of its own."""

from __future__ import annotations

import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from contextlib import ExitStack
from contextvars import Context
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from unittest.mock import patch

import msgspec
from msgspec import Struct, field

from romancy.storage.backends import create_store
from romancy.testing.simulating.cluster import Cluster, be_silent
from romancy.testing.simulating.registries import kept_registries
from romancy.testing.simulating.wire import WEATHER, Weather
from romancy.testing.simulating.world import SECOND
from romancy_conformance.chaos.plain import OUTSIDE, outside
from romancy_conformance.chaos.rounds import Plan, Round
from romancy_conformance.chaos.stage import stage
from romancy_conformance.chaos.worker import note_lapses
from romancy_conformance.simulation.nursery import SimulatedDatabase, SimulatedNursery

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.storage.protocol import Store

__all__ = ["IMPOSSIBLE", "Forked", "Outcome", "play", "play_here", "prepare", "summed"]

_LONGEST: Final = 2 * 3600 * SECOND
"""The time of the simulation after which a round that has not ended never will."""
_MOST_TURNS: Final = 2_000_000
"""The turns of all event loops after which a round is ended. Most have 100,000; workers that never rest have more."""
_URL: Final = "memory://simulated"
_MOST: Final = 12
"""Activities of an instance of a shape: rather more instances than long ones."""
IMPOSSIBLE: Final = frozenset({"sync"})
"""What needs a thread that waits."""
_CALLS_OF_AN_INSTANCE: Final = 150
"""The most calls of the database that an instance takes on average; 30 to 60 are usual."""
_CALLS_OF_A_SECOND: Final = 20
"""Those of a worker, and of the driver, in a second of the simulation besides. 10 are usual."""
_OCTETS_OF_AN_INSTANCE: Final = 1 << 20
_SMALLEST: Final = 256 << 20
"""What a slice takes beside its instances; nothing is collected in it."""
_DEATHS: Final = ("died",)
_ON_THE_WIRE: Final = (*WEATHER, "cut", "away", "posthumous")


class Outcome(Struct, kw_only=True):
    """The result of a slice."""

    seed: str
    digest: str = ""
    findings: list[str] = field(default_factory=list[str])
    programs: int = 0
    instances: int = 0
    deaths: int = 0
    wire: int = 0
    faults: int = 0
    """How many were drawn for its workers and its database."""
    counts: dict[str, int] = field(default_factory=dict[str, int])
    virtual: float = 0.0
    seconds: float = 0.0
    turns: int = 0
    story: list[str] = field(default_factory=list[str])


def prepare() -> None:
    """Make once what each fork would make again: the modules of the database, and its tables."""
    create_store(_URL)


def play(plan: Plan, folder: Path, *, keep: int = 0, stop_at: float | None = None) -> Outcome:
    """Play the round of this plan. `keep`: how many lines of the trace are kept; -1: all.

    `stop_at`: after so many seconds of its time, a debugger begins, before the next thing that is due.
    """
    begun = time.monotonic()
    variation = plan.kept.variation
    cluster = Cluster(f"{plan.seed}~{variation}" if variation else plan.seed, keep=keep)
    world, processes = cluster.world, cluster.processes
    round_ = Round(plan, _URL, folder, SimulatedNursery(cluster), SimulatedDatabase(cluster))
    driver = cluster.process("driver")
    abroad, calm = Weather(), Weather()

    def for_apps(url: str, **options: Any) -> Store:
        """The database as an app of this process reaches it. Callers outside only meet bad wires."""
        assert processes.turning is not None
        return cluster.store(processes.turning, abroad if processes.turning is driver else None)

    def for_the_judge(url: str, **options: Any) -> Store:
        return cluster.store(driver, calm)

    chance = random.Random(f"weather {plan.seed}")
    for weather in (cluster.weather, abroad):
        draw(weather, chance, plan.kept.weather)
    stage.moment, stage.threads, stage.most = lambda: world.now / SECOND, False, _MOST
    stage.zero, stage.behind, stage.is_quick = 0.0, lambda: cluster.clock.most_behind / SECOND, True
    stage.calm = lambda: _calm(cluster.weather, abroad)
    stage.process = lambda: processes.turning.pid if processes.turning is not None else 0
    outside[:] = [folder / OUTSIDE]
    with ExitStack() as stack:
        stack.enter_context(patch("romancy.app.create_store", for_apps))
        stack.enter_context(patch("romancy_conformance.chaos.rounds.create_store", for_the_judge))
        stack.enter_context(kept_registries())
        driver.begin(round_.play(), Context())
        if stop_at is not None:
            world.run(lambda: driver.is_dead, world.began + int(stop_at * SECOND))
            breakpoint()  # noqa: T100 - `world`, `cluster`, `processes` and `round_` are here
        world.run(lambda: driver.is_dead or world.turns >= _MOST_TURNS, world.now + _LONGEST)
    outcome = Outcome(seed=plan.seed, digest=world.trace.digest(), counts=world.trace.counts, turns=world.turns)
    outcome.virtual, outcome.seconds = (world.now - world.began) / SECOND, time.monotonic() - begun
    outcome.deaths = sum(world.trace.counts.get(what, 0) for what in _DEATHS)
    outcome.wire = sum(world.trace.counts.get(what, 0) for what in _ON_THE_WIRE)
    outcome.faults, outcome.story = len(round_.faults), world.trace.lines
    outcome.findings += [f"UNCAUGHT {name}: {_described(error)}" for name, error in processes.errors]
    if driver.error is not None:
        told = "".join(traceback.format_exception(driver.error))
        outcome.findings.append(f"BROKEN {plan.seed}: {told}")
    elif driver.result is None:
        spent = f"{outcome.virtual:.0f} s of its time and {world.turns} turns"
        outcome.findings.append(f"ENDLESS {plan.seed}: the round did not end in {spent}")
    else:
        outcome.programs, outcome.instances = driver.result.programs, driver.result.instances
        outcome.findings += [str(finding) for finding in driver.result.findings]
        outcome.findings += too_busy(outcome, plan.workers)
    return outcome


def too_busy(outcome: Outcome, workers: int) -> list[str]:
    """Say so if there were more calls than so many instances and so many workers can need in this time."""
    calls = sum(outcome.counts.values())
    most = _CALLS_OF_AN_INSTANCE * outcome.instances + _CALLS_OF_A_SECOND * outcome.virtual * (workers + 1)
    return [] if calls <= most else [f"BUSY {outcome.seed}: {calls} calls for {outcome.instances} instances"]


def too_large(outcome: Outcome, octets: int) -> list[str]:
    """Say so if the process of a slice has got larger than so many instances can need."""
    most = _SMALLEST + _OCTETS_OF_AN_INSTANCE * outcome.instances
    return [] if octets <= most else [f"LARGE {outcome.seed}: {octets >> 20} MB for {outcome.instances} instances"]


def draw(weather: Weather, chance: random.Random, kept: Sequence[str] | None) -> None:
    """Choose how bad the wires are in this slice. Some faults need many of one kind and none of the others.

    `kept`: the kinds that a smaller case has; None: all.
    """
    weather.latency = chance.choice((100, 300, 300, 2000, 20_000))
    weather.lost, weather.unanswered = chance.choice((0.0, 0.004, 0.03)), chance.choice((0.0, 0.004, 0.03))
    weather.hung, weather.late = chance.choice((0.0, 0.002, 0.02)), chance.choice((0.0, 0.02, 0.1))
    for name in WEATHER:
        if kept is not None and name not in kept:
            setattr(weather, name, 0.0)


def _calm(*weathers: Weather) -> None:
    for weather in weathers:
        weather.calm()


def _described(error: dict[str, Any]) -> str:
    raised = error.get("exception")
    return f"{error.get('message')}: {type(raised).__name__}: {raised}"


class Forked:
    """A slice that is played in a fork of this process."""

    def __init__(self, plan: Plan, *, keep: int = 0, kept: Path | None = None) -> None:
        """`keep`: how many lines of the trace are kept; -1: all. `kept`: a folder for what activities write."""
        self._seed = plan.seed
        self.file, write = os.pipe()
        """Can be read once the outcome is there."""
        self._child = os.fork()
        if self._child:
            os.close(write)
            return
        status = 1
        try:
            os.close(self.file)
            with os.fdopen(write, "wb") as file, tempfile.TemporaryDirectory() as folder:
                file.write(msgspec.json.encode(play_here(plan, kept or Path(folder), keep=keep)))
            status = 0
        except BaseException:  # noqa: BLE001 - the fork must not go on as its parent
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)

    def outcome(self) -> Outcome:
        """Wait for the outcome."""
        with os.fdopen(self.file, "rb") as file:
            said = file.read()
        _, status = os.waitpid(self._child, 0)
        if status or not said:
            return Outcome(seed=self._seed, findings=[f"CRASHED {self._seed}: its process ended with {status}"])
        return msgspec.json.decode(said, type=Outcome)

    def stop(self) -> None:
        """End it. There is no outcome."""
        os.kill(self._child, signal.SIGKILL)
        os.close(self.file)
        os.waitpid(self._child, 0)


def play_here(plan: Plan, folder: Path, *, keep: int = 0, stop_at: float | None = None) -> Outcome:
    """Play in this process, which ends after that: nothing is collected, and nothing is logged."""
    be_silent()
    note_lapses(plan.lease)
    before = _octets()
    outcome = play(plan, folder, keep=keep, stop_at=stop_at)
    if not keep:  # the lines that are kept are large
        outcome.findings += too_large(outcome, _octets() - before)
    return outcome


def _octets() -> int:
    """The memory of this process at its largest. A fork begins with that of its parent. 0: it is not known here."""
    if sys.platform != "linux":
        return 0  # Windows has no such call, and others count otherwise
    import resource  # noqa: PLC0415 - Windows has none

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def summed(outcomes: list[Outcome]) -> Outcome:
    """All of them as one."""
    total: Counter[str] = Counter()
    for each in outcomes:
        total.update(each.counts)
    return Outcome(
        seed="",
        findings=[finding for each in outcomes for finding in each.findings],
        programs=sum(each.programs for each in outcomes),
        instances=sum(each.instances for each in outcomes),
        deaths=sum(each.deaths for each in outcomes),
        wire=sum(each.wire for each in outcomes),
        counts=dict(total),
        virtual=sum(each.virtual for each in outcomes),
        seconds=sum(each.seconds for each in outcomes),
        turns=sum(each.turns for each in outcomes),
    )
