"""The levels of isolation that a session may ask for, from the weakest to the strongest."""

from __future__ import annotations

from typing import Any, Final, Literal, TypeAlias

from romancy.errors import UsageError

__all__ = ["LEVELS", "IsolationLevel", "check_isolation"]

IsolationLevel: TypeAlias = Literal["read committed", "repeatable read", "serializable"]
LEVELS: Final[tuple[IsolationLevel, ...]] = ("read committed", "repeatable read", "serializable")


def check_isolation(given: Any) -> None:
    """Raise UsageError unless this is a level, or None."""
    if given is not None and given not in LEVELS:
        raise UsageError(f"isolation={given!r}: give one of {', '.join(map(repr, LEVELS))}, or leave it out")
