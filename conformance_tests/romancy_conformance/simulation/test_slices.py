"""Slices of a cluster in simulated time: what they find, and that the same seed gives the same run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from romancy.testing.simulating.cluster import Cluster
from romancy_conformance.chaos.programs import ENDINGS
from romancy_conformance.chaos.rounds import Round
from romancy_conformance.simulation import slices
from romancy_conformance.simulation.__main__ import options_of_a_run, plan_of
from romancy_conformance.simulation.nursery import SimulatedNursery
from romancy_conformance.simulation.slices import Outcome, too_busy, too_large

CORPUS = [
    line for line in Path(__file__).with_name("corpus.txt").read_text("utf-8").splitlines() if not line.startswith("#")
]
SMALL = ("--programs", "6", "--instances", "12", "--seconds", "8")


def simulate(*options: str, hash_seed: str = "random") -> tuple[int, str]:
    """Return how the tool ended, and what it said."""
    command = [sys.executable, "-m", "romancy_conformance.simulation", *options]
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_the_same_seed_gives_the_same_run(tmp_path: Path) -> None:
    runs: list[tuple[int, str, str]] = []
    for number in ("1", "2"):
        told = tmp_path / f"{number}.txt"
        code, said = simulate("--seed", "one", "--slices", "1", *SMALL, "--story", str(told), hash_seed=number)
        digest = re.search(r"digest (\w+)", said)
        assert digest is not None, said
        runs.append((code, digest[1], told.read_text("utf-8")))

    assert runs[0] == runs[1]
    assert (0, True) == (runs[0][0], len(runs[0][2].splitlines()) > 500)


def test_a_slice_whose_processes_never_rest_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "_MOST_TURNS", 500)
    options = options_of_a_run().parse_args(["--seed", "one", *SMALL])

    outcome = slices.Forked(plan_of(options, 1)).outcome()

    (finding,) = outcome.findings
    assert re.fullmatch(r"ENDLESS one-1: the round did not end in \d+ s of its time and 500 turns", finding)


@pytest.mark.long
def test_one_worker_with_few_places_ends_what_waits_for_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A child repeats an activity until its parent has failed, which waits for another child: that needs a place."""
    monkeypatch.setattr(slices, "_MOST_TURNS", 60_000)  # 12,000 are needed
    without = ",".join(sorted(set(ENDINGS) - {"retries"}))
    calm = ("--only-faults", "none", "--only-weather", "none", "--seconds", "1", "--lease", "3")
    played = ("--workers", "1", "--programs", "8", "--instances", "0", "--without", without)
    plan = plan_of(options_of_a_run().parse_args(["--seed", "narrow", *calm, *played]), 42)
    first = Round(plan, "memory://", tmp_path, SimulatedNursery(Cluster("unused"))).job()

    outcome = slices.Forked(plan).outcome()

    assert [] == outcome.findings
    assert first.max_live < outcome.instances == 46


def test_more_calls_or_memory_than_the_instances_need_are_a_finding() -> None:
    usual = Outcome(seed="s", instances=200, virtual=100.0, counts={"read": 9_000, "commit": 3_000})
    busy = Outcome(seed="s", instances=200, virtual=100.0, counts={"read": 40_000, "commit": 3_000})

    assert [] == [*too_busy(usual, 3), *too_large(usual, 100 << 20)]
    assert ["BUSY s: 43000 calls for 200 instances"] == too_busy(busy, 3)
    assert ["LARGE s: 500 MB for 200 instances"] == too_large(usual, 500 << 20)


@pytest.mark.long(days=4)
@pytest.mark.parametrize("line", CORPUS)
def test_what_once_found_a_fault_finds_none(line: str) -> None:
    code, said = simulate(*line.partition("#")[0].split())

    assert code == 0, said


def test_what_slices_write_is_kept_apart(tmp_path: Path) -> None:
    """The acts of another slice would be taken for effects that the log denies."""
    kept = ("--seed", "one", "--slices", "2", *SMALL, "--keep", str(tmp_path))

    assert 0 == simulate(*kept)[0]
    assert ["one-1", "one-2"] == sorted(folder.name for folder in tmp_path.iterdir())
    code, said = simulate(*kept)
    assert (1, True) == (code, "one-1 is there already, from another run; give another folder" in said)
