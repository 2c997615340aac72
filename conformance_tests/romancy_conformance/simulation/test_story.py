"""A story fits 80 columns, marks the faults, keeps to what a finding is about, and can be read as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from romancy.testing.simulating.story import COLUMNS, Entry, in_columns
from romancy_conformance.chaos.rounds import Plan
from romancy_conformance.simulation.slices import Forked, Outcome
from romancy_conformance.simulation.story import tell, told

if TYPE_CHECKING:
    from pathlib import Path

TRACE = [
    "1000\tdriver\tbegun\tpid 101 on machine-0",
    "2000\tworker1\tclaim\tx-1-4 x-1-5",
    "2500\tworker2\tclaim\tx-1-6",
    "3000\tworker1\tcommit\tx-1-4#2 waiting accepted x-1-5#2 accepted",
    "3500\tworker2\tlate\tcommit x-1-6#2",
    "4000\tworker1\tlost\tcommit x-1-5#3",
    "4500\tworker1\tdied\t-9",
    "5000\twire\twire-hole\t1.500 s",
    "6000\tworker2\ttakeover\tfrom worker1 x-1-4 x-1-5",
    "7000\tworker2\tclaim\tx-1-4",
    "7500\tworker2\twait_for_work\t",
    "9500000\tworker2\tlate\tread x-1-6",
]
FINDING = "DOUBLED x-1-4: done too often: {'k1': 1}"


def outcome(*findings: str, trace: list[str] = TRACE) -> Outcome:
    """Return the outcome of a slice with this trace."""
    return Outcome(seed="x-1", story=[f"{line}\n" for line in trace], findings=list(findings), virtual=9.5)


def lines_of(file: Path) -> list[str]:
    return file.read_text("utf-8").splitlines()


def test_faults_are_marked(tmp_path: Path) -> None:
    tell(outcome(), tmp_path / "story")

    marked = [line[1:].split()[1:3] for line in lines_of(tmp_path / "story") if line.startswith("!")]
    assert marked == [
        ["worker2", "late"],
        ["worker1", "lost"],
        ["worker1", "died"],
        ["wire", "wire-hole"],
        ["worker2", "late"],
    ]


def test_what_tells_nothing_is_left_out_for_people_alone(tmp_path: Path) -> None:
    tell(outcome(), tmp_path / "story")
    tell(outcome(), tmp_path / "story.jsonl")

    assert "wait_for_work" not in (tmp_path / "story").read_text("utf-8")
    assert "wait_for_work" in (tmp_path / "story.jsonl").read_text("utf-8")


def test_a_finding_has_the_story_of_its_instance_and_of_those_that_held_it() -> None:
    story = told(outcome(FINDING))

    assert [(each.who, each.what) for each in story] == [
        ("worker1", "claim"),
        ("worker1", "commit"),
        ("worker2", "late"),
        ("worker1", "lost"),
        ("worker1", "died"),
        ("wire", "wire-hole"),
        ("worker2", "takeover"),
        ("worker2", "claim"),
        ("judge", "found"),
    ]


@pytest.mark.parametrize("subject", ["all", "x-1-400"])
def test_everything_is_told_if_asked_for_or_if_nothing_concerns_the_finding(subject: str) -> None:
    assert len(told(outcome(FINDING), subject)) == len(TRACE) + 1


def test_a_long_line_goes_on_below_its_text() -> None:
    entry = Entry(12.345678, "worker1", "takeover", " ".join(f"x-1-told-sealed-{number}" for number in range(20)))

    first, *others = in_columns(entry).splitlines()

    assert others
    assert first.startswith("   12.345678 worker1  takeover x-1-told-sealed-0 ")
    assert all(line.startswith(" " * 22 + "x-1-") for line in others)
    assert max(map(len, (first, *others))) <= COLUMNS


def test_the_story_of_a_slice(tmp_path: Path) -> None:
    """It has the instances, the outcomes, the lives of workers and their faults."""
    plan = Plan(seed="story", programs=1, instances=1, shapes=frozenset({"cancel"}), seconds=4.0)
    found = Forked(plan, keep=-1).outcome()

    tell(found, tmp_path / "story")
    tell(found, tmp_path / "story.jsonl")

    assert found.findings == []
    lines = lines_of(tmp_path / "story")
    assert max(map(len, lines)) <= COLUMNS
    entries = [msgspec.json.decode(line, type=Entry) for line in lines_of(tmp_path / "story.jsonl")]
    assert len(entries) == len(found.story)
    told_of = {(each.who == "driver", each.what, each.of) for each in entries}
    assert (True, "commit", "story-cancel-0#1 created accepted") in told_of
    assert (False, "claim", "story-cancel-0") in {(driver, what, of.split(" mail")[0]) for driver, what, of in told_of}
    assert {each.what for each in entries if each.fault} >= {"died"}
    assert sum(line.startswith("!") for line in lines) == sum(each.fault for each in entries)
