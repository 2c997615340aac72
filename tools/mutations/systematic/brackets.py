"""Reads SQL as tokens in brackets: parentheses, square brackets, and `case … end`. The same for every dialect.

Comments and white space are left out. What comes in quotes is one token.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypeAlias

from msgspec import Struct, field

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Group", "Token", "brackets"]

_TOKEN: Final = re.compile(
    r"""
      (?P<space> \s+ | --[^\n]* | /\*.*?\*/)
    | (?P<text> '(?:[^'\\]|''|\\.)*' | "(?:[^"]|"")*" | `[^`]*`)
    | (?P<between> \bis\s+(?:not\s+)?distinct\s+from\b)
    | (?P<word> \{\w+\} | (?<!:):[a-z]\w* | \$\d+ | \w+(?:\.\w+)*)
    | (?P<operator> ::|->>|->|@>|<@|<=>|<=|>=|<>|!=|\|\||&& | .)
    """,
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)
_OPEN: Final = {"(": ")", "[": "]", "case": "end"}


class Token(Struct, frozen=True):
    """A word, a text, or an operator."""

    word: str
    """In small letters; a text in quotes has the word `'`, and `is distinct from` the word `is`."""
    start: int
    end: int


class Group(Struct):
    """What stands in brackets, with them; the whole text is one too."""

    start: int
    called: str = ""
    """The word before the bracket, as of a function."""
    end: int = 0
    parts: list[Part] = field(default_factory=list["Part"])
    word: str = "()"

    @property
    def simple_case(self) -> bool:
        """Whether it is a `case` that compares a value, so that a value and no condition follows `when`."""
        return self.word == "case" and bool(self.parts) and self.parts[0].word != "when"


Part: TypeAlias = Token | Group


def brackets(sql: str) -> Group:
    """The whole text as one group. `ValueError` if a bracket is open in the end, or was never opened."""
    open_groups = [Group(0)]
    closing = [""]
    for token in _tokens(sql):
        group = open_groups[-1]
        if token.word in _OPEN:
            before = group.parts[-1].word if group.parts else ""
            inner = Group(token.start, before, word="case" if token.word == "case" else "()")
            group.parts.append(inner)
            open_groups.append(inner)
            closing.append(_OPEN[token.word])
        elif token.word == closing[-1]:
            open_groups.pop().end = token.end
            closing.pop()
        elif token.word in (")", "]"):
            raise ValueError(
                f"a {token.word} at {token.start} closes nothing: {sql[max(0, token.start - 40) : token.end]!r}"
            )
        else:
            group.parts.append(token)
    if len(open_groups) > 1:
        raise ValueError(
            f"what opens at {open_groups[-1].start} is never closed: {sql[open_groups[-1].start :][:40]!r}"
        )
    open_groups[0].end = len(sql)
    return open_groups[0]


def _tokens(sql: str) -> Iterator[Token]:
    for found in _TOKEN.finditer(sql):
        match found.lastgroup:
            case "space":
                pass
            case "text":
                yield Token("'", found.start(), found.end())
            case "between":
                yield Token("is", found.start(), found.end())
            case _:
                yield Token(found[0].lower(), found.start(), found.end())
