"""Shared texts: what a dialect makes of them."""

from __future__ import annotations

from importlib import import_module

import pytest

from romancy.errors import InternalError
from romancy.status import Status
from romancy.storage.sqlkit.scripts import Pieces, numbered, shared_heads, shared_texts, written


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


def test_parameters_are_numbered_in_the_order_that_is_given() -> None:
    text = numbered("select :b::text, x::int from t where a = :a and b < :b", ("a", "b"))

    assert "select $2::text, x::int from t where a = $1 and b < $2" == text


def test_a_prefix_is_that_of_tables_and_of_indexes_in_hints() -> None:
    pieces = import_module("romancy_sqlite._scripts").PIECES
    text = shared_texts(pieces, "mine_")["place_behind"]

    assert "mine_instances indexed by mine_instances_newest" in text
    assert "romancy_" not in text


def test_every_shared_text_has_a_head() -> None:
    assert shared_texts(Pieces()).keys() == shared_heads().keys()
