"""The record of a line of steps: the order of the ledger alone shows what ran twice."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from romancy_conformance.behaviour.crashes.ledger import Entry
from romancy_conformance.behaviour.faults.account import begun_in_vain, in_flight, left_behind, out_of_line

LINE = ["a:1", "b:1", "a:2"]


def entries(text: str) -> list[Entry]:
    """`+a:1` begins, `-a:1` ends; `+a:1@7` in process 7, and `+a:1/x` for the instance x."""
    found: list[Entry] = []
    for word in text.split():
        rest, _, pid = word.partition("@")
        activity_id, _, instance_id = rest[1:].partition("/")
        what = "begin" if word[0] == "+" else "end"
        found.append(Entry(what, instance_id or "i", activity_id, 1, int(pid or 1)))
    return found


def test_attempts_that_were_interrupted_may_begin_again() -> None:
    assert [] == out_of_line(entries("+a:1 +a:1 -a:1 -a:1 +b:1 -b:1 +a:2 +a:2 +a:2 -a:2"), LINE)


def test_the_end_of_a_frozen_attempt_may_come_late() -> None:
    assert [] == out_of_line(entries("+a:1 +a:1 -a:1 +b:1 -a:1 -b:1"), LINE)


def test_what_begins_again_behind_its_successor_was_completed() -> None:
    (complaint,) = out_of_line(entries("+a:1 -a:1 +b:1 +a:1@7"), LINE)

    assert "a:1 of i (attempt 1, process 7) began again although b:1 had begun" == complaint


def test_what_begins_before_its_predecessor_has_ended_was_not_waited_for() -> None:
    (complaint,) = out_of_line(entries("+a:1 +b:1"), LINE)

    assert "began before a:1 had ended" in complaint


def test_instances_are_told_apart() -> None:
    assert [] == out_of_line(entries("+a:1/x -a:1/x +b:1/x +a:1/y -a:1/y +b:1/y"), LINE)
    assert 1 == len(out_of_line(entries("+a:1/x -a:1/x +b:1/y"), LINE))


def test_what_is_no_part_of_the_line_is_named() -> None:
    assert ["z:1 of i (attempt 1, process 1) is no part of the line"] == out_of_line(entries("+z:1"), LINE)


@given(st.lists(st.integers(1, 3), min_size=3, max_size=3), st.data())
def test_a_line_with_repeats_is_right_until_one_of_them_is_moved_behind(times: list[int], data: st.DataObject) -> None:
    right = [word for name, count in zip(LINE, times, strict=True) for word in [f"+{name}", f"-{name}"] * count]
    assert [] == out_of_line(entries(" ".join(right)), LINE)
    assert sum(times) - 3 == len(begun_in_vain(entries(" ".join(right))))

    again = data.draw(st.sampled_from(LINE[:2]))
    behind = right.index(f"+{LINE[LINE.index(again) + 1]}") + 1
    right.insert(data.draw(st.integers(behind, len(right))), f"+{again}")
    assert 1 == len(out_of_line(entries(" ".join(right)), LINE))


def test_the_last_that_began_is_not_in_vain() -> None:
    found = begun_in_vain(entries("+a:1@1 +a:1/x@5 +a:1@2 -a:1@2 +a:1@3 -a:1@3 +b:1@3"))

    assert [1, 2] == [entry.pid for entry in found]


def test_what_somebody_left_behind_is_counted_by_instance() -> None:
    found = entries("+a:1@1 +a:1/x@1 +a:1@2 -a:1@2 +a:1/x@2 +b:1@1 +b:1@2")

    assert {(1, "i"), (1, "x")} == left_behind(found, {1})
    assert set() == left_behind(found, {2})
    assert {1: 3, 2: 2} == in_flight(found)
