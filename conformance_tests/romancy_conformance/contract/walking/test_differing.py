"""What a walk prints when an answer or a table of the store is not that of the model."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from msgspec import Struct
from msgspec.structs import replace

from romancy_conformance.contract.walking.differing import require_same, rows_that_differ, what_differs


class Box(Struct, frozen=True):
    """A record with records in it."""

    name: str
    due: int | None = None
    bodies: tuple[bytes, ...] = ()
    inner: tuple[Box, ...] = ()
    labels: dict[str, int] | None = None


class Pair(NamedTuple):
    """A record that is a tuple."""

    left: int
    right: str


LONG = b"a" * 300
BOX = Box("b", 5, (LONG, b"x"), (Box("c", 1), Box("d", 2), Box("e", 3)), {"one": 1, "two": 2})


def lines(expected: object, answer: object) -> list[str]:
    return [line.strip() for line in what_differs(expected, answer).splitlines()]


def test_equal_answers_are_no_reason_to_print() -> None:
    require_same("the row", BOX, replace(BOX))
    assert "" == what_differs(BOX, replace(BOX))


def test_only_the_fields_that_differ_are_named() -> None:
    inner = (BOX.inner[0], replace(BOX.inner[1], due=None), BOX.inner[2])
    labels = {"one": 1, "two": 3, "three": 3}

    assert lines(BOX, replace(BOX, inner=inner, labels=labels)) == [
        "inner[1].due:", "the model has 2", "the store has None",
        "labels[two]:", "the model has 2", "the store has 3",
        "labels[three]:", "the model has nothing", "the store has 3",
    ]  # fmt: skip


def test_of_a_long_value_the_place_is_shown_where_it_differs() -> None:
    shown = lines(BOX, replace(BOX, bodies=(LONG[:150] + b"B" + LONG[151:], b"x")))

    assert shown[0] == "bodies[0]:"
    assert shown[1].startswith("the model has …" + "a" * 40)
    assert shown[2].startswith("the store has …" + "a" * 20 + "Baaa")
    assert shown[1].endswith("…")


def test_what_one_of_two_lists_lacks_shifts_nothing() -> None:
    assert lines(BOX.inner, (BOX.inner[0], BOX.inner[2])) == [
        "[1]:", "the model has Box(name='d', due=2)", "the store has nothing"
    ]  # fmt: skip
    assert lines([1, 2], [1, 2, 2]) == ["[2]:", "the model has nothing", "the store has 2"]


def test_answers_of_different_kinds_are_shown_whole() -> None:
    assert lines(Pair(1, "a"), Pair(1, "b")) == ["right:", "the model has 'a'", "the store has 'b'"]
    assert lines(None, Pair(1, "b"))[0] == "the answer:"
    assert lines({"a": 1}, ["a"]) == ["the answer:", "the model has {'a': 1}", "the store has ['a']"]


def test_no_line_is_longer_than_a_terminal_and_no_page_is_endless() -> None:
    many = [Box(f"{number}" * 40, number, (LONG,)) for number in range(50)]
    changed = [replace(box, name=f"{box.name}!", bodies=()) for box in many]

    page = what_differs({"k" * 200: many}, {"k" * 200: changed}).splitlines()

    assert len(page) == 31
    assert max(map(len, page)) <= 80
    assert page[-1].strip() == "… and 270 more lines"


COLUMNS = ["instance_id", "life", "seq", "at"]


def rows(missing: list[tuple[object, ...]], more: list[tuple[object, ...]]) -> list[str]:
    return [line.strip() for line in rows_that_differ(COLUMNS, missing, more).splitlines()]


def test_of_two_rows_that_are_alike_the_columns_that_differ_are_named() -> None:
    assert rows([("i", 1, 2, 7), ("j", 1, 1, 7)], [("j", 1, 1, 8), ("i", 1, 2, 9)]) == [
        "(i, 1, 2)", "at:", "the model has 7", "the store has 9",
        "(j, 1, 1)", "at:", "the model has 7", "the store has 8",
    ]  # fmt: skip


def test_a_row_that_only_one_of_them_has_is_named_as_such() -> None:
    assert rows([("i", 1, 2, 7)], []) == [
        "(i):", "the model has {'instance_id': 'i', 'life': 1, 'seq': 2, 'at': 7}", "the store has nothing"
    ]  # fmt: skip
    assert rows([], [("i", 1, 2, 7)])[1] == "the model has nothing"


def test_the_error_says_what_was_compared() -> None:
    with pytest.raises(AssertionError, match=r"the row of i:\n    due:\n      the model has 5\n      the store has 6"):
        require_same("the row of i", BOX, replace(BOX, due=6))
