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

_COUNTED: Final = "order order by created_at desc, instance_id desc"
"""The order of rows that are only counted, or that an index has. It keeps planners to that index."""
_STATUSES: Final = ("", *(f" @{number}" for number in range(2, 10)))
"""A text is repeated for each status."""

SURVIVORS: Final[tuple[str, ...]] = (
    *(f"sqlite {statement} {_COUNTED}{again}" for statement in ("tally", "trend") for again in _STATUSES),
    *(f"sqlite tally limit 1{again}" for again in _STATUSES),
    f"sqlite trend {_COUNTED} @10",
    f"sqlite tally_slice {_COUNTED}",
    f"sqlite tally_slice {_COUNTED} @2",
    f"sqlite place_behind {_COUNTED}",
    "sqlite lying order order by instance_id, delivery_id @2",
    "sqlite lying order order by instance_id, delivery_id @3",
    "sqlite lives_with_rows order order by ids.id",
    "sqlite owned order order by instance_id",
    "sqlite living_beat conjunct token = :token",
    "sqlite mailboxes conjunct inbox.instance_id = instance.instance_id",
)


def is_known(mutant: Listed) -> bool:
    """Whether the mutant is on the list."""
    return any(matches(mutant, member) for member in SURVIVORS)
