"""The scanner of SQL reads as a slow one does, on every Python, in time that grows with the text alone."""

from __future__ import annotations

import json
import random
import time
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.storage.ending_texts import ENDING, PASSING, mistaken, readings, refused
from tests.storage.slow_sql_text import slow_readings

if TYPE_CHECKING:
    from tests.core.interpreters import Interpreter

PIECES: Final = (
    *"'\"`$#-*/!\\\n\r;eEMaä1_ ",
    "--", "-- ", "/*", "*/", "/*!", "/*M!", "/*!50000 ", "e'", "E'", "$$", "$a$", "$ä1$", "''", '""', "``", "'\n'",
    "commit", "\xa0", "\x01",
)  # fmt: skip
TEXTS: Final = [sql for texts in (ENDING, PASSING) for dialect in texts for sql in texts[dialect]]


@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join))
@example("/* /*/ */ */")
@example("/*! /*/ */ */")
def test_every_text_is_read_as_slowly(sql: str) -> None:
    assert slow_readings(sql) == readings(sql)


def test_the_judgement_of_known_texts() -> None:
    assert mistaken() == []


def texts_by_chance(number: int) -> list[str]:
    chance = random.Random(number)
    return ["".join(chance.choices(PIECES, k=chance.randrange(25))) for _ in range(number)]


@pytest.mark.long(days=4)
def test_every_python_reads_alike(python: Interpreter) -> None:
    texts = [*TEXTS, *texts_by_chance(20_000)]

    found = python.run("-m", "tests.storage.ending_texts", input=json.dumps(texts))

    wrong, theirs = json.loads(found)
    assert wrong == []
    assert [slow_readings(sql) for sql in texts] == theirs


LONG: Final = {
    "quotes": "'" * 200_000,
    "quotes, one too many": "'" * 200_000,
    "quotes apart": "' " * 100_001,
    "escaped quotes": r"e'" + r"\'" * 100_000,
    "strings that are continued": "e'a' \n" * 30_000,
    "spaces behind a string": "e'a'" + " " * 200_000,
    "comments behind a string": "e'a'" + "-- " * 66_000,
    "comments": "/*" * 100_000,
    "comments apart": "/* */ " * 32_000,
    "closed comments": "/*" * 50_000 + "*/" * 50_000,
    "stars": "*/" * 100_000,
    "comments for versions": "/*!50000 " * 22_000,
    "dollars": "$" * 200_000,
    "tags": "$a" * 100_000,
    "other tags": " ".join(f"$a{number}$" for number in range(24_000)),
    "lines": "-- " * 66_000,
    "backslashes": "'" + "\\" * 200_000,
    "statements": "prepare ;" * 22_000,
    "spaces": "commit_" + ";" + " " * 200_000,
    "prepared": "prepare 'a' from" * 12_000,
    "letters": "e" * 200_000,
}


@pytest.mark.parametrize("name", LONG)
@pytest.mark.parametrize("dialect", ["postgres", "mysql"])
def test_a_long_text_is_read_in_time(name: str, dialect: str) -> None:
    """What grows with the square of the length would take many minutes. The bound has room for a busy machine."""
    begun = time.thread_time()

    refused(dialect, LONG[name] + " commit")

    assert time.thread_time() - begun < 5
