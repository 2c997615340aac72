"""Who makes way for whom at a lane, and who gets the next places there."""

from __future__ import annotations

import msgspec
import pytest

from romancy.storage.admission import CANCEL, REPLACE, SKIP, Demand, Terms, admit, losers, outrun, replaced, told
from romancy.storage.routing import Owner

LANE = "l/k/4/shop/"


def demand(name: str, at: int, full: str = CANCEL, *, inside: bool = False) -> Demand:
    terms = msgspec.json.encode(Terms(concurrency=2, full=full))
    return Demand(Owner(name, 1), "place", told(terms) if inside else terms, at, LANE)


def names(demands: list[Demand]) -> list[str]:
    return [one.owner.name for one in demands]


LINE = [demand("a", 1), demand("q", 2, ""), demand("b", 3), demand("c", 4)]


@pytest.mark.parametrize(("admitted", "gone"), [(0, ["a", "b"]), (1, ["a", "b"]), (2, ["a", "b"]), (3, ["a"]), (4, [])])
def test_of_those_that_have_others_stopped_the_oldest_make_way(admitted: int, gone: list[str]) -> None:
    assert names(outrun(LINE, admitted)) == gone


def test_one_of_both_kinds_waits() -> None:
    assert names(replaced([demand("a", 1), demand("b", 5, REPLACE), demand("c", 4), demand("q", 9, "")])) == ["a", "c"]


@pytest.mark.parametrize(
    ("first", "lacking", "stopped"),
    [(demand("n", 9), 1, ["b"]), (demand("n", 9), 2, ["b", "c"]), (demand("n", 9), 0, []), (demand("n", 9, ""), 1, [])],
)
def test_for_the_first_in_line_the_first_that_say_so_are_stopped(
    first: Demand, lacking: int, stopped: list[str]
) -> None:
    holders = [demand("a", 1, ""), demand("b", 2), demand("c", 3)]

    assert names(losers([first], holders, lacking)) == stopped


@pytest.mark.parametrize(("lacking", "stopped"), [(1, []), (2, ["b"]), (3, ["b"])])
def test_who_was_told_is_not_told_again(lacking: int, stopped: list[str]) -> None:
    holders = [demand("a", 1, inside=True), demand("b", 2)]

    assert names(losers([demand("n", 9)], holders, lacking)) == stopped


@pytest.mark.parametrize(("taken", "lacking"), [(0, 1), (1, 1), (2, 1), (3, 2)])
def test_it_is_known_how_many_places_are_lacking(taken: int, lacking: int) -> None:
    assert admit(LINE, taken, (), 0).lacking == lacking
    assert admit(LINE, taken, (), 0, Terms(paused=True)).lacking == 0


def heavy(name: str, units: int, full: str = "", **terms: int) -> Demand:
    asked = Terms(units=units, full=full, **(terms or {"concurrency": 4}))  # type: ignore[arg-type]
    return Demand(Owner(name, 1), "place", msgspec.json.encode(asked), 0, LANE)


@pytest.mark.parametrize(("taken", "admitted", "lacking"), [(0, "ab", 1), (1, "a", 1), (2, "", 1), (4, "", 3)])
def test_nobody_overtakes_one_that_needs_several_places(taken: int, admitted: str, lacking: int) -> None:
    line = [heavy("a", 3), heavy("b", 1), heavy("c", 1)]

    found = admit(line, taken, (), 0)

    assert names([*found.admitted]) == [*admitted]
    assert found.lacking == lacking


def test_one_that_does_not_wait_stops_nobody() -> None:
    line = [heavy("a", 2), heavy("b", 3, SKIP), heavy("c", 1, SKIP)]

    assert names([*admit(line, 0, (), 0).admitted]) == ["a", "c"]


def test_units_count_in_a_period() -> None:
    line = [heavy(name, units, rate=4, period=10) for name, units in (("a", 2), ("b", 3), ("c", 1))]

    first = admit(line, 0, (), 100)
    assert (names([*first.admitted]), first.begins, first.again) == (["a"], (100, 100), 110)
    late = admit(line[1:], 0, (100, 100, 105), 106)
    assert (names([*late.admitted]), late.again) == ([], 110)
    then = admit(line[1:], 0, (100, 100, 105), 111)
    assert (names([*then.admitted]), then.begins, then.again) == (["b"], (105, 111, 111, 111), 115)


def test_more_than_there_is_takes_all_of_it() -> None:
    alone = admit([heavy("a", 4)], 0, (), 0, Terms(concurrency=2))

    assert names([*alone.admitted]) == ["a"]
    assert admit([heavy("a", 4)], 1, (), 0, Terms(concurrency=2)).lacking == 1
