"""A migration's file is sent statement by statement."""

from __future__ import annotations

import re

import pytest

from romancy_postgres._migrations import each_statement, known_migrations

FILE = """
-- made up; with a comment
create table t (a text default 'x;--y'); /* ; */
create function f() returns text language sql as $$ select 'a'; $$;
create function g() returns text language plpgsql as $body$ begin return $$;$$; end $body$;

insert into "t;" values ('it''s;');
-- nothing follows
"""


def test_only_the_end_of_a_statement_divides_a_file() -> None:
    assert list(each_statement(FILE)) == [
        "-- made up; with a comment\ncreate table t (a text default 'x;--y')",
        "/* ; */\ncreate function f() returns text language sql as $$ select 'a'; $$",
        "create function g() returns text language plpgsql as $body$ begin return $$;$$; end $body$",
        "insert into \"t;\" values ('it''s;')",
    ]


@pytest.mark.parametrize("text", ["", " \n", "-- a", ";", "/* a */ ;"])
def test_comments_alone_are_no_statement(text: str) -> None:
    assert list(each_statement(text)) == []


def test_a_last_statement_needs_no_end() -> None:
    assert list(each_statement("select 1; select 2")) == ["select 1", "select 2"]


def test_the_files_lose_nothing() -> None:
    for one in known_migrations():
        sent = ";".join([*each_statement(one.sql), ""])

        assert re.sub(r"\s", "", sent) == re.sub(r"\s", "", one.sql)
