"""Which text would end a transaction, apart from comments and literals."""

from __future__ import annotations

import pytest

from romancy.errors import UsageError
from romancy.storage.endings import refuse_mysql_ending, refuse_postgres_ending

BOTH = [
    "commit",
    " Commit work;",
    "-- a\n -- b\nrollback",
    "/* a */ begin",
    "start\ttransaction",
    "insert into t values ('x''y'); commit",
    "select 1;;\n/**/rollback and chain",
]
POSTGRES = [
    "end",
    "abort",
    "prepare transaction 'x'",
    "/* a /* b */ c */ commit",
    "select $$;$$; commit",
    "select $a$ $$ ' $a$; commit",
    r"select 'a\'; commit",
    r"select E'a\''; commit",
    'select 1 as "a""b"; commit',
]
MYSQL = [
    "# a\ncommit",
    "/*!50000 commit*/",
    "/*M!100000 rollback */",
    r"select 'a\''; commit",
    "select `a``b`; commit",
    "set autocommit=0",
    "set @a = 1,\n@@autocommit := 1",
    "xa commit 'x'",
    "lock tables t read",
    "unlock table",
    "PREPARE s FROM ' commit '",
    'execute immediate "rollback"',
]


@pytest.mark.parametrize("sql", [*BOTH, *POSTGRES])
def test_an_end_is_found_on_postgres(sql: str) -> None:
    with pytest.raises(UsageError, match="ended by Romancy"):
        refuse_postgres_ending(sql)


@pytest.mark.parametrize("sql", [*BOTH, *MYSQL])
def test_an_end_is_found_on_mysql(sql: str) -> None:
    with pytest.raises(UsageError, match="ended by Romancy"):
        refuse_mysql_ending(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "select 1",
        "select 'commit', 'a; commit', '--'",
        "-- commit",
        "/* ; commit */ select 1",
        "rollback to savepoint a",
        "ROLLBACK work TO a",
        "savepoint a; release savepoint a",
        "update commits set n = 1 -- commit",
        "select begin_at, end_at from abort_log",
        "select case when true then 1 end",
        "insert into t values ('it''s; commit')",
    ],
)
def test_what_ends_nothing_passes(sql: str) -> None:
    refuse_postgres_ending(sql)
    refuse_mysql_ending(sql)


@pytest.mark.parametrize("sql", ["select $$; commit $$", "select $a$ $$; commit; $a$", 'select 1 as "; commit"'])
def test_a_literal_of_postgres_ends_nothing(sql: str) -> None:
    refuse_postgres_ending(sql)


@pytest.mark.parametrize("sql", [r"select 'a\'; commit'", "select `; commit`", "prepare s from 'select 1'"])
def test_a_literal_of_mysql_ends_nothing(sql: str) -> None:
    refuse_mysql_ending(sql)


@pytest.mark.parametrize("head", ["/*", "/* /*", "'", "$a$", '"', "/* " + "/* */ " * 60])
def test_what_is_never_closed_is_read_in_time(head: str) -> None:
    """Each piece is read a bounded number of times; otherwise this would not end."""
    text = head + " commit x '' \\" * 2_000

    refuse_mysql_ending(f"select {text}")
    refuse_postgres_ending(f"select {text}")
