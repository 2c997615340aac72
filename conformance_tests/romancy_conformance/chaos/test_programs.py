"""Programs of the chaos: the same seed makes the same one, and each has one legal outcome."""

from __future__ import annotations

import os

import pytest

from romancy_conformance.chaos.oracle import Expected, foretell
from romancy_conformance.chaos.programs import FEATURES, UNUSUAL, Node, Program, every, generate, keeping_places
from romancy_conformance.chaos.shapes.catalogue import OF_ALL_RUNS, REMOVING, SCHEDULED, SHAPES, drawn
from romancy_conformance.chaos.undoing import in_order, link

SOAK = bool(os.environ.get("ROMANCY_SOAK"))
FEWER = frozenset({"crowd", "long"})
"""Features that take long and are the same each time."""


def some(count: int) -> list[Program]:
    return [generate(f"p-{number}", f"some-{number}", FEWER | UNUSUAL) for number in range(count)]


def determined(found: dict[str, Expected]) -> dict[str, Expected]:
    """Return the programs whose end and effects are known."""
    return {path: each for path, each in found.items() if not each.program.undetermined}


def test_a_seed_makes_one_program() -> None:
    assert some(20) == some(20)
    assert 20 == len({str(program).partition(":")[2] for program in some(20)})


def test_every_operation_is_used() -> None:
    text = " ".join(map(str, some(600)))

    assert set() == {name for name in FEATURES - FEWER - UNUSUAL - {"recur", "first"} if name not in text}
    assert any(len(program.runs) > 1 for program in some(20))


def test_ids_are_told_apart() -> None:
    paths = [each.path for program in some(100) for each in every(program)]

    assert len(paths) == len(set(paths))


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_however_long_activities_take_the_outcome_is_the_same() -> None:
    for program in some(1000 if SOAK else 60):
        assert determined(foretell(program, 1)) == determined(foretell(program, 2)), str(program)


def test_the_unusual_has_one_outcome() -> None:
    programs = [generate(f"p-{number}", f"unusual-{number}", FEWER) for number in range(100)]
    text = " ".join(map(str, programs))

    assert set() == {name for name in UNUSUAL if name not in text}
    for program in programs:
        assert determined(foretell(program, 1)) == determined(foretell(program, 2)), str(program)


def test_what_is_left_out_does_not_occur() -> None:
    children = {"child", "child_fails", "launch", "launch_cancel", "spawn", "event_child", "event_inherited", "listen"}
    groups = {"channel_group", "channel_inherited", "channel_shared"}
    without = frozenset({*children, *groups, "recur", "reserve", "cancelled", "retries", "recalled", "child_late"})
    programs = [generate(f"p-{number}", f"some-{number}", without) for number in range(100)]

    assert all(1 == len(list(every(program))) == len(program.runs) for program in programs)
    assert not any("reserve(" in str(program) or program.ending == "cancelled" for program in programs)


def test_a_chain_is_undone_backwards_each_time() -> None:
    assert in_order([])
    assert in_order(["k1", link("k2", 3), link("k3", 1), link("k2", 1), "k1"])
    assert in_order([link("k2", 3), link("k2", 1)] * 2)
    assert not in_order([link("k2", 1), link("k3", 1), link("k2", 3)])
    assert not in_order([link("k2", 3), link("k2", 1), link("k2", 1), link("k2", 3)])


def test_programs_that_are_retried_several_times() -> None:
    without = frozenset({*FEWER, "returns", "fails", "exhausts", "stops-itself", "cancelled", "retry", "recalled"})
    for program in (generate(f"p-{number}", f"retried-{number}", without) for number in range(40)):
        found = foretell(program)
        family = [each for path, each in found.items() if path == program.path or ".k" in path]

        assert "retries" == program.ending
        assert 4 == len(family)
        assert determined(found) == determined(foretell(program, 2)), str(program)
        for each in family:
            assert ("completed", each.program.failures) == (each.status, each.undone["last"])
            assert each.done["last"] == 1 + each.undone["last"]


def test_who_keeps_a_place_until_another_instance_has_done_something() -> None:
    def count(*nodes: Node, undetermined: bool = False) -> int:
        return keeping_places(Program("p", (Node("seq", of=nodes),), undetermined=undetermined))

    child = Node("child", program=Program("p.c", (Node("seq"),)))
    late = Node("child", program=Program("p.c", (Node("seq", of=(Node("keeps"),)),), undetermined=True))
    kin = (Program("p.ka", ()), Program("p.kb", (), kin=(Program("p.kb.kc", ()),)))

    assert 0 == count(child) == count(Node("wait_first", of=(Node("step"), Node("holds"))))
    assert 1 == count(Node("wait_first", of=(child, Node("holds")))) == count(Node("keeps"), undetermined=True)
    assert 2 == count(late, Node("holds"))
    assert 0 == count(Node("wait_first", of=(child, Node("sleeps"))))
    assert 3 == keeping_places(Program("p", (), kin=kin))


def test_ids_are_purged_or_programs_recur() -> None:
    """A purge removes the rows of finished runs."""
    every = frozenset(SHAPES) - SCHEDULED - OF_ALL_RUNS
    rounds = [drawn(f"seed-{number}", every, frozenset()) for number in range(100)]

    assert {(every, frozenset({"recur"})), (every - REMOVING, frozenset[str]())} == set(rounds)
    for removing in (REMOVING, *(frozenset({one}) for one in REMOVING)):
        assert (removing, frozenset({"recur"})) == drawn("seed", removing, frozenset())
    assert (every, frozenset({"recur"})) == drawn("seed-1", every, frozenset({"recur"}))


def test_there_are_schedules_or_programs_recur() -> None:
    """A schedule that is declared anew removes the rows of finished runs."""
    every = frozenset(SHAPES) - REMOVING - OF_ALL_RUNS
    rounds = {drawn(f"seed-{number}", every, frozenset()) for number in range(100)}

    assert {(every - SCHEDULED, frozenset[str]()), (every, frozenset({"recur"}))} == rounds
    assert (SCHEDULED, frozenset({"recur"})) == drawn("seed", SCHEDULED, frozenset())


def test_who_reads_finished_runs_is_not_played_where_they_are_removed() -> None:
    rounds = [drawn(f"seed-{number}", frozenset(SHAPES), frozenset()) for number in range(300)]

    assert any(shapes >= OF_ALL_RUNS for shapes, _ in rounds)
    assert all(not shapes & (SCHEDULED | REMOVING) for shapes, _ in rounds if shapes & OF_ALL_RUNS)
