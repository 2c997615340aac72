"""Shared texts: what a dialect makes of them, and that an own text in the place of one fits it."""

from __future__ import annotations

import re
from importlib import import_module

import pytest

from romancy.errors import InternalError
from romancy.status import Status
from romancy.storage.sql import queries_of
from romancy.storage.sqlkit.scripts import Pieces, numbered, shared_scripts, written

ADAPTERS = {"romancy_sqlite": "_store", "romancy_postgres": "_database", "romancy_mysql": "_database"}


def own_texts(adapter: str) -> dict[str, str]:
    return dict(queries_of(adapter, import_module(f"{adapter}.{ADAPTERS[adapter]}")._FILES))


def test_words_in_braces_are_the_dialects() -> None:
    body = "-- A comment.\nselect 1 from t {by_age} where a {only :a} and b {among :b} order by {within a} c;\n"

    plain = written(body, Pieces())
    other = written(body, Pieces(by_age="in order", only="= any (array[{}])", within="{},", among="in each({})"))

    assert "select 1 from t where a = :a and b in (:b) order by c" == plain
    assert "select 1 from t in order where a = any (array[:a]) and b in each(:b) order by a, c" == other


def test_an_unknown_word_is_refused() -> None:
    with pytest.raises(InternalError, match="nonsense"):
        written("select {nonsense}", Pieces())


def test_a_part_is_written_for_each_status() -> None:
    text = written("-- each: status\nselect :status, :statuses\n-- then\nselect 2;\n", Pieces())

    assert [*(f"select '{status}', :statuses" for status in Status), "select 2"] == text.split("\nunion all\n")
    assert len(Status) == written("-- each: status\nselect :status;\n", Pieces()).count("select")


def test_parameters_are_numbered_in_order_and_each_once() -> None:
    text, names = numbered("select :b::text, x::int from t where a = :a and b < :b")

    assert "select $1::text, x::int from t where a = $2 and b < $1" == text
    assert ("b", "a") == names


def test_a_prefix_is_that_of_tables_and_of_indexes_in_hints() -> None:
    pieces = import_module("romancy_sqlite._scripts").PIECES
    text = shared_scripts(pieces, "mine_")["place_behind"].text

    assert "mine_instances indexed by mine_instances_newest" in text
    assert "romancy_" not in text


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_an_own_text_has_the_parameters_of_the_shared_one(adapter: str) -> None:
    shared = shared_scripts(import_module(f"{adapter}._scripts").PIECES)
    own = own_texts(adapter)

    for name in shared.keys() & own.keys():
        assert set(numbered(shared[name].text)[1]) == set(numbered(own[name])[1]), name


def test_each_column_has_its_kind() -> None:
    """Columns are counted where a script has a plain list of them."""
    for name, script in shared_scripts(Pieces()).items():
        columns = re.match(r"select ([\w., ]+) from", script.text.replace("\n", " "))
        if columns:
            assert len(columns[1].split(",")) == len(script.kinds), name
