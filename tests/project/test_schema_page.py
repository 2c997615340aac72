"""docs/schema.md matches the databases: after a change of the schema it must be drawn again."""

from __future__ import annotations

import asyncio

import pytest

from romancy_conformance.servers import Kind
from tools.draw_schema import NAMES, PAGE, facts_of, meanings, migrated, read_page, render
from tools.schema_catalogues import Column, Table, dialect_of

DRAW = "draw the page again: python -m tools.draw_schema"


@pytest.mark.backends("sqlite", *Kind)
def test_the_page_shows_the_schema_of_each_database(storage_url: str) -> None:
    schemas, _ = read_page(PAGE.read_text("utf-8"))

    assert facts_of(asyncio.run(migrated(storage_url))) == schemas[dialect_of(storage_url)], DRAW


def test_the_page_gives_the_meanings_that_are_kept() -> None:
    text = PAGE.read_text("utf-8")
    schemas, words = read_page(text)

    assert meanings() == words, DRAW
    assert render(schemas, words) == text, DRAW


def test_every_column_has_a_meaning_and_every_meaning_a_column() -> None:
    schemas, words = read_page(PAGE.read_text("utf-8"))

    drawn = {key for facts in schemas.values() for key in facts}
    said = {f"{table}.{column}".removesuffix(".about") for table, columns in words.items() for column in columns}
    assert said == drawn


def test_what_is_written_is_read_back() -> None:
    column = Column("a", "text", null=True, default="'x'")
    facts = facts_of([Table("romancy_new", [column, Column("b", "bigint", null=False)], ["primary key (a)", "(b)"])])
    words = {"romancy_new": {"about": "New.", "a": "first", "b": "second"}}
    schemas = {name: facts if name == "SQLite" else {} for name in NAMES}

    assert {
        "romancy_new": "`primary key (a)`; `(b)`",
        "romancy_new.a": "text or null, default 'x'",
        "romancy_new.b": "bigint",
    } == facts
    assert (schemas, words) == read_page(render(schemas, words))
