"""Texts that end a transaction or do not, and a program without pytest that reads texts: every Python runs it."""

from __future__ import annotations

import json
import sys
from typing import Final

from romancy.errors import UsageError
from romancy.storage.endings import refuse_mysql_ending, refuse_postgres_ending
from romancy.storage.sql_text import mysql_readings, postgres_reading

_BOTH_END: Final = [
    "commit",
    " Commit work;",
    "-- a\n -- b\nrollback",
    "/* a */ begin",
    "/* traceparent='00-ab' */ commit",
    "/* a * b / c ** */commit",
    "/**/commit/**/",
    "/***/commit",
    "/*/ a */commit",
    "start\ttransaction",
    "start/* a */transaction",
    "insert into t values ('x''y'); commit",
    "select 1;;\n/**/rollback and chain",
    "select 2*/* a */3; commit",
    "select '; commit",
]
_BOTH_PASS: Final = [
    "select 1",
    "select 'commit', 'a; commit', '--'",
    "-- commit",
    "/* ; commit */ select 1",
    "/** ; commit **/ select 1",
    "select 1 /* ' ; commit */ + 1 /* ' */",
    "rollback to savepoint a",
    "ROLLBACK work TO a",
    "rollback /* a */ to a",
    "savepoint a; release savepoint a",
    "update commits set n = 1 -- commit",
    "select begin_at, end_at from abort_log",
    "select case when true then 1 end",
    "insert into t values ('it''s; commit')",
    "select 2*/* ; commit */3",
    "select 1 for update skip locked",
]
ENDING: Final = {
    "postgres": [
        *_BOTH_END,
        "end",
        "abort",
        "prepare transaction 'x'",
        "/* a /* b */ c */ commit",
        "/* a /* b /* c */ */ */ commit",
        "select $$;$$; commit",
        "select $a$ $$ ' $a$; commit",
        r"select 'a\'; commit",
        r"select E'a\''; commit",
        'select 1 as "a""b"; commit',
        "-- a\rcommit",
        "select 1 as a$b$; commit; select 2 as c$b$",
        "select 1 as ä$b$; commit; select 2 as ü$b$",
        r"select 1 as a$e'\'; commit; select '",
        "select e'a'\n'b\\'c'; commit; select 'x'",
        "select e'a' -- b\n'b\\'c'; commit; select 'x'",
    ],
    "mysql": [
        *_BOTH_END,
        "# a\ncommit",
        "--\x01\ncommit",
        "select 1 --\xa0; commit",
        "/*!50000 commit*/",
        "/*M!100000 rollback */",
        "/*!99999 it's */ commit -- '",
        "/*!50000 select '*/' */; commit",
        r"select 'a\''; commit",
        "select `a``b`; commit",
        "set autocommit=0",
        "set @a = 1,\n@@autocommit := 1",
        "xa commit 'x'",
        "lock tables t read",
        "lock/**/tables t read",
        "unlock table",
        "PREPARE s FROM ' commit '",
        "prepare s from/* a */'commit'",
        "prepare `s`from'commit'",
        r"prepare s from '# a\ncommit'",
        "prepare s from '/* it''s */ commit'",
        'execute immediate "rollback"',
        'execute/**/immediate "rollback"',
    ],
}
PASSING: Final = {
    "postgres": [
        *_BOTH_PASS,
        "select $$; commit $$",
        "select $a$ $$; commit; $a$",
        "select $ä1$ $$; commit; $ä1$",
        'select 1 as "; commit"',
        "/* a /* b */ ; commit */ select 1",
        "/* a /* b /* c */ */ ; commit */ select 1",
        r"select e'a\'; commit'",
        "select e'a'\n'b\\'; commit'",
    ],
    "mysql": [
        *_BOTH_PASS,
        r"select 'a\'; commit'",
        "select `; commit`",
        "prepare s from 'select 1'",
        "prepare s from 'select ''; commit'''",
        "select 1 /* /* */",
        "/*!50000 select 1 */ -- commit",
        '-- a\rcommit\nselect "commit"',
    ],
}


def refused(dialect: str, sql: str) -> bool:
    try:
        (refuse_postgres_ending if dialect == "postgres" else refuse_mysql_ending)(sql)
    except UsageError:
        return True
    return False


def mistaken() -> list[str]:
    """The texts of this file that are judged wrongly."""
    return [
        f"{dialect}: {sql}"
        for texts, ends in ((ENDING, True), (PASSING, False))
        for dialect in texts
        for sql in texts[dialect]
        if refused(dialect, sql) is not ends
    ]


def readings(sql: str) -> list[list[object]]:
    """As PostgreSQL reads it, and as MySQL does."""
    return [list(reading) for reading in (postgres_reading(sql), *mysql_readings(sql))]


def main() -> None:
    """Write what is judged wrongly, and how the texts from standard input are read."""
    texts = json.load(sys.stdin)
    print(json.dumps([mistaken(), [readings(sql) for sql in texts]]))


if __name__ == "__main__":
    main()
