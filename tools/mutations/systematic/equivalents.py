"""Mutants that change nothing that anybody could notice: classes, each with its reason and its members.

A member is the beginning of a label without the number: dialect, statement, kind, and the piece that is dropped. `*`
stands for any word. `tests/tools` fails if a member matches no mutant.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from tools.mutations.systematic.statements import Listed

__all__ = ["EQUIVALENTS", "Equivalents", "class_of", "words_of"]


class Equivalents(NamedTuple):
    """Mutants that are as good as the text, for one reason."""

    name: str
    reason: str
    members: tuple[str, ...]
    """Patterns of `dialect statement kind piece`."""

    def has(self, mutant: Listed) -> bool:
        """Whether the mutant is one of them."""
        return any(fnmatchcase(words_of(mutant), _pattern(member)) for member in self.members)


EQUIVALENTS: Final[tuple[Equivalents, ...]] = ()


def words_of(mutant: Listed) -> str:
    """How a member names the mutant."""
    return f"{mutant.dialect} {mutant.statement} {mutant.kind} {mutant.was}"


def class_of(mutant: Listed) -> Equivalents | None:
    """The class that the mutant is in."""
    return next((one for one in EQUIVALENTS if one.has(mutant)), None)


def _pattern(member: str) -> str:
    """Of the signs of a pattern, SQL has `?` and `[` itself."""
    return member.replace("[", "[[]").replace("?", "[?]")
