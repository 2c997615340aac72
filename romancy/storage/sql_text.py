"""SQL without its comments and literals, as the server of each dialect reads it.

A scanner looks for what opens a comment or a literal, then for what closes it. It reads each character a bounded number
of times. Its patterns have no possessive quantifier and no atomic group, which CPython 3.11.0 to 3.11.4 matches wrongly
(gh-106052).
"""

from __future__ import annotations

import re
from math import inf
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Reading", "mysql_readings", "postgres_reading"]


class Reading(NamedTuple):
    """A text as a server reads it."""

    words: str
    """The text with a space for each comment, and for each literal its number in the list, in quotes."""
    literals: list[str]
    """With their quotes."""


_NAME: Final = r"A-Za-z_\x80-\U0010ffff"
_POSTGRES: Final = re.compile(
    rf"--[^\n\r]*|/\*|(?P<literal>['\"]|(?<![{_NAME}0-9$])(?:[eE]'|\$(?:[{_NAME}][{_NAME}0-9]*)?\$))"
)
_MYSQL: Final = re.compile(r"(?:#|--(?=[\x00-\x20\x7f]|\Z))[^\n]*|/\*(?:M?!\d*)?|\*/|(?P<literal>['\"`])")
_IN_COMMENT: Final = re.compile(r"/\*|\*/")
_COMMENT_END: Final = re.compile(r"\*/")
# In a literal a match of one character is its end.
_DOUBLED: Final = {mark: re.compile(f"{mark}{mark}|{mark}") for mark in "'\"`"}
_ESCAPED: Final = {mark: re.compile(rf"\\.|{mark}{mark}|{mark}", re.DOTALL) for mark in "'\""}
# PostgreSQL continues a string in the next line's quotes, with escapes if it began with escapes.
_CONTINUED: Final = re.compile(r"\\.|'(?:[ \t\n\r\f\v]|--[^\n\r]*[\n\r])*'|'", re.DOTALL)


def postgres_reading(sql: str) -> Reading:
    """As PostgreSQL reads it with `standard_conforming_strings`, its default."""
    return _read(sql, _POSTGRES, _past_postgres)


def mysql_readings(sql: str) -> list[Reading]:
    """As a server reads it that executes what is in `/*! */` and `/*M! */`, and as one of another version."""
    executing = _read(sql, _MYSQL, _PastMysql(executes=True))
    return [executing, _read(sql, _MYSQL, _PastMysql(executes=False))] if "!" in sql else [executing]


def _read(sql: str, opens: re.Pattern[str], past: Callable[[str, re.Match[str]], int]) -> Reading:
    words: list[str] = []
    literals: list[str] = []
    at = 0
    while (found := opens.search(sql, at)) is not None:
        end = past(sql, found)
        if end < 0:
            break  # never closed: the server refuses the text, and the rest of it is read as words
        words.append(sql[at : found.start()])
        if found["literal"] is None:
            words.append(" ")
        else:
            words.append(f" '{len(literals)}' ")
            literals.append(sql[found.start() : end])
        at = end
    words.append(sql[at:])
    return Reading("".join(words), literals)


def _past_postgres(sql: str, found: re.Match[str]) -> int:
    """Where the comment or literal ends that begins here; -1 if nowhere."""
    opening, start = found[0], found.end()
    if opening.startswith("--"):
        return start
    if opening == "/*":
        return _past_comment(sql, start, inf)
    if opening.startswith("$"):
        end = sql.find(opening, start)
        return end if end < 0 else end + len(opening)
    return _past_literal(sql, start, _DOUBLED.get(opening, _CONTINUED))


class _PastMysql:
    """The same for MySQL and MariaDB, which may be inside a comment that they execute."""

    def __init__(self, *, executes: bool) -> None:
        self._executes = executes
        self._inside = False

    def __call__(self, sql: str, found: re.Match[str]) -> int:
        opening, start = found[0], found.end()
        if opening == "*/":
            inside, self._inside = self._inside, False
            return start if inside else start - 1  # outside it can be the `*` of `2*/* a comment */3`
        if opening == "/*":
            return _past_comment(sql, start, 0)
        if not opening.startswith("/*"):
            return (
                start if found["literal"] is None else _past_literal(sql, start, _ESCAPED.get(opening, _DOUBLED["`"]))
            )
        if self._executes:
            self._inside = True
            return start
        return _past_comment(sql, start, 1)


def _past_comment(sql: str, at: int, nested: float) -> int:
    """Comments nest in this one up to a depth."""
    depth = 0
    while depth >= 0:
        found = (_IN_COMMENT if depth < nested else _COMMENT_END).search(sql, at)
        if found is None:
            return -1
        depth += 1 if found[0] == "/*" else -1
        at = found.end()
    return at


def _past_literal(sql: str, start: int, stops: re.Pattern[str]) -> int:
    return next((stop.end() for stop in stops.finditer(sql, start) if len(stop[0]) == 1), -1)
