"""Mutants that no test notices so far. Each is a test that has yet to be written, or an equivalent without a class.

The list may only get shorter. Its members are patterns, as those of `equivalents`. A run without a bound on time tries
them too, and fails if one is noticed now, so that it is taken off.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tools.mutations.systematic.equivalents import matches

if TYPE_CHECKING:
    from tools.mutations.systematic.statements import Listed

__all__ = ["SURVIVORS", "is_known"]

SURVIVORS: Final[tuple[str, ...]] = ()


def is_known(mutant: Listed) -> bool:
    """Whether the mutant is on the list."""
    return any(matches(mutant, member) for member in SURVIVORS)
