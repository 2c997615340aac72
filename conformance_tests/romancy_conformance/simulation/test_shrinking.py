"""A planted bug is found again in a smaller case, and a command line repeats that case."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from romancy.testing.simulating.cluster import Cluster
from romancy_conformance.chaos.kept import Kept
from romancy_conformance.chaos.rounds import Plan, Round
from romancy_conformance.chaos.shapes import acts
from romancy_conformance.simulation.__main__ import options_of_a_run, plan_of
from romancy_conformance.simulation.nursery import SimulatedDatabase, SimulatedNursery, SimulatedWorker
from romancy_conformance.simulation.repeating import command
from romancy_conformance.simulation.shrinking import Shrinking, parts_of
from romancy_conformance.simulation.slices import Forked

if TYPE_CHECKING:
    from romancy_conformance.chaos.faults import Fault

PLAN = Plan(seed="smaller", programs=1, instances=2, shapes=frozenset({"cancel"}), seconds=3.0, workers=2)
_kill = SimulatedWorker.kill


@pytest.fixture
def _a_ghost_acts_at_a_kill(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whenever a worker is killed, an instance that is not there acts. This is judged where a shape is played."""

    async def kill(self: SimulatedWorker) -> None:
        ghost, key = f"{PLAN.seed}-cancel-0.ghost", f"key {self.pid}"
        act = acts.Act(acts.DO, ghost, f"put:{self.pid}", key, 1, self.pid, 0.0)
        acts._add("acts.jsonl", act)  # pyright: ignore[reportPrivateUsage] - as an activity does
        await _kill(self)

    monkeypatch.setattr(SimulatedWorker, "kill", kill)


def round_of(plan: Plan) -> Round:
    """Return a round that is not played."""
    cluster = Cluster("not played")
    return Round(plan, "memory://none", Path("none"), SimulatedNursery(cluster), SimulatedDatabase(cluster))


def drawn(plan: Plan) -> list[Fault]:
    """Return all faults of a round."""
    return round_of(plan).faults


@pytest.mark.usefixtures("_a_ghost_acts_at_a_kill")
def test_a_smaller_case_has_one_instance_and_one_fault_alone() -> None:
    found = Forked(PLAN).outcome()
    assert {finding.split()[0] for finding in found.findings} == {"PHANTOM"}
    shrinking = Shrinking(PLAN, found, cores=2, seconds=60.0)

    shrinking.shrink()

    assert sorted(part.of for part in shrinking.parts) == ["faults", "instances"]
    kept = shrinking.plan.kept
    assert kept.faults is not None
    assert [drawn(PLAN)[number].kind for number in kept.faults] == ["kill"]
    assert (kept.programs, kept.weather, kept.workers) == ((), (), 1)
    again = Forked(shrinking.plan).outcome()
    assert (again.findings, again.digest) == (shrinking.outcome.findings, shrinking.outcome.digest)
    assert again.findings == ["PHANTOM smaller-cancel-0.ghost: it has acted, and is not there"]


@pytest.mark.usefixtures("_a_ghost_acts_at_a_kill")
def test_the_time_is_limited() -> None:
    found = Forked(PLAN).outcome()
    now = iter([0.0])  # the time is up before the first try: a try that has begun may be as quick as a look
    shrinking = Shrinking(PLAN, found, cores=2, seconds=1.0, clock=lambda: next(now, 2.0))

    shrinking.shrink()

    assert shrinking.tries == 1  # the case itself, for its story
    assert shrinking.plan == PLAN
    assert shrinking.parts == parts_of(PLAN, found.faults)
    assert (shrinking.outcome.digest, bool(shrinking.outcome.story)) == (found.digest, True)


def test_what_is_left_is_the_same() -> None:
    plan = replace(PLAN, programs=8, seconds=12.0)
    whole = round_of(plan)
    kept = Kept(programs=(2, 5), faults=(1, 4), workers=1)

    part = round_of(replace(plan, kept=kept))

    assert part.programs == [whole.programs[2], whole.programs[5]]
    assert part.ways == [whole.ways[2], whole.ways[5]]
    assert part.faults == whole.faults
    first, second = kept.faults_of(part.faults, workers=1)
    assert (first.kind, second.kind) == (whole.faults[1].kind, whole.faults[4].kind)
    assert {first.place, second.place} == {0}
    times = [sum(fault.pause for fault in whole.faults[: number + 1]) for number in (1, 4)]
    assert [first.pause, first.pause + second.pause] == pytest.approx(times)


@pytest.mark.parametrize(
    "kept",
    [
        pytest.param(Kept(), id="all"),
        pytest.param(Kept(programs=(), instances=(), faults=(), weather=()), id="nothing"),
        pytest.param(
            Kept(programs=(3, 7), instances=(12,), faults=(2,), workers=2, weather=("late",), variation=4),
            id="some",
        ),
    ],
)
def test_a_command_line_repeats_a_case(kept: Kept) -> None:
    parser = options_of_a_run()
    given = [
        "--seed",
        "a word",
        "--slices",
        "9",
        "--lease",
        "2.5",
        "--without",
        "nap,kill",
        "--shapes",
        "told",
        "--cores",
        "1",
    ]
    options = parser.parse_args(given)

    repeated = parser.parse_args(shlex.split(command(parser, options, 4, kept)))

    assert (repeated.first, repeated.slices) == (4, 1)
    assert plan_of(repeated, 4) == replace(plan_of(options, 4), kept=kept)
