"""Items as columns: a value that a column cannot hold is stored in another form."""

from __future__ import annotations

import string

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import astuple

from romancy.status import Status
from romancy.storage.query import path_key
from romancy_conformance.contract.building import append, change, start, step
from romancy_postgres._columns import (
    Flat,
    change_columns,
    error_bytes,
    error_text,
    first_columns,
    firsts_of,
    given_columns,
    index_paths,
    index_rows,
    log_columns,
    path_sets,
    step_columns,
    stored_path,
)

_LARGEST_ENTRY = 2704
"""Bytes of the largest entry in a PostgreSQL index."""


@given(st.text() | st.none())
def test_an_error_of_any_characters_comes_back(error: str | None) -> None:
    assert error_text(error_bytes(error)) == error


@given(st.lists(st.text(string.ascii_letters + "é", min_size=1, max_size=300), min_size=1, max_size=40, unique=True))
def test_a_set_of_paths_fits_into_an_index_and_names_its_paths(paths: list[str]) -> None:
    index = tuple((path, "s:x") for path in paths)

    sets = path_sets(firsts_of([start(index=index, workflow_name="flow")]))

    (((workflow_name, name), members),) = sets.items()
    assert workflow_name == "flow"
    assert name == index_paths(tuple(reversed(index)))
    assert len(name.encode()) + 255 < _LARGEST_ENTRY
    assert members == sorted(stored_path(path_key(path)) for path in paths)
    assert all(len(member) <= 255 for member in members)


def test_only_paths_with_a_value_have_index_rows() -> None:
    rows = index_rows([("a", (("x", "s:1"), ("y", None))), ("b", (("x", "z"),))])

    assert rows == [["a", "b"], ["x", "x"], ["s:1", "z"]]


def test_every_column_has_one_value_for_each_item() -> None:
    one = start()
    items = [append(one, 2), append(start(), 5, change=change(Status.STUCK), consumed=("m1", "m2"))]

    assert {len(column) for column in log_columns(items)} == {2}
    steps = [step(one, 2, after="w"), step(start(), 3)]
    assert [list(column) for column in zip(*step_columns(steps), strict=True)] == [list(astuple(one)) for one in steps]
    *columns, takes, owners, mail = change_columns(items)
    assert {len(column) for column in columns} == {2}
    assert (takes, owners, mail) == ([0, 2], [items[1].instance_id] * 2, ["m1", "m2"])
    assert columns[2] == [None, True], "parking gives up the ownership"
    assert {len(column) for column in first_columns(firsts_of([one]))[:13]} == {1}
    assert {len(column) for column in given_columns(firsts_of([one, one]))} == {2}


def test_a_flat_column_meets_every_other_walk_with_nothing() -> None:
    column = Flat(["a", None, "b"])

    walks = [list(column) for _ in range(4)]

    assert len(column) == 3
    assert walks == [[], ["a", None, "b"]] * 2, "asked and written, and once more if the driver has to send it again"
