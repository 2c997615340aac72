"""SQL taken apart as far as its rules need it: brackets, the queries in them, and their clauses."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Query", "queries"]

_QUIET: Final = re.compile(r"'[^']*'|--[^\n]*")
_QUERY: Final = re.compile(r"[\s(]*(?:with|select|insert|update|delete|values)\b", re.IGNORECASE)
_PART: Final = re.compile(r"(\w+)\s+as\s+(?:materialized\s+)?$", re.IGNORECASE)
_CLAUSE: Final = re.compile(
    r"\b(with|select|insert into|update(?! set| of| skip)|set|delete from|using|from|where|group by|order by"
    r"|limit|values|returning|on conflict|on duplicate key update|union all|union|for (?:no key )?update"
    r"|for (?:key )?share)\b",
    re.IGNORECASE,
)


class Query(NamedTuple):
    """A query: what stands in one pair of brackets, or outside of them, without what inner brackets hold."""

    part: str
    """The name of the part of a WITH that it is. Empty: it is none."""
    text: str
    """An inner query is `()`."""
    outermost: bool
    """It stands in no brackets: it is the statement."""

    def clauses(self) -> Iterator[tuple[str, str]]:
        """Each clause by its words, in their order, with what follows the words."""
        pieces = _CLAUSE.split(self.text)
        for words, rest in zip(pieces[1::2], pieces[2::2], strict=True):
            yield " ".join(words.lower().split()), rest


def queries(script: str) -> list[Query]:
    """All queries of a script, the inner ones first. A statement after a semicolon is another one."""
    found: list[Query] = []
    for statement in _QUIET.sub("''", script).split(";"):
        if statement.strip():
            _read(statement, "", found, outermost=True)
    return found


def _read(text: str, part: str, found: list[Query], *, outermost: bool = False) -> None:
    """Read what stands in a pair of brackets. Brackets that hold no query belong to the query around them."""
    kept, at = "", 0
    while at < len(text):
        if text[at] != "(":
            kept, at = kept + text[at], at + 1
            continue
        end = _closing(text, at)
        inner = text[at + 1 : end]
        if _QUERY.match(inner):
            named = _PART.search(kept)
            _read(inner, named[1] if named else "", found)
            kept += "()"
        else:
            kept += f"({_without_queries(inner, found)})"
        at = end + 1
    found.append(Query(part, kept, outermost))


def _without_queries(text: str, found: list[Query]) -> str:
    inner: list[Query] = []
    _read(text, "", inner)
    found += inner[:-1]
    return inner[-1].text


def _closing(text: str, at: int) -> int:
    depth = 0
    for place in range(at, len(text)):
        depth += {"(": 1, ")": -1}.get(text[place], 0)
        if not depth:
            return place
    raise AssertionError(f"a bracket is not closed: {text[at : at + 60]}")
