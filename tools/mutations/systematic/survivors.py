"""Mutants that no test notices so far. Each is a test that has yet to be written, or an equivalent without a class.

The lists may only get shorter. The members of `SURVIVORS` are patterns, as those of `equivalents`: all tests that use
the statement passed. A run without a bound on time tries them too, and fails if one is noticed now, so that it is taken
off.

`undecided.txt` names mutants of the servers one by one, each after its state:

- `unnoticed`: some tests in which it makes a difference passed.
- `alike`: it makes no difference in any test that was looked at. Each statement of a test was sent once more with the
  mutant, in a savepoint, and the answers and all tables were compared.
- `untried`: no test has met it.

Nobody knows yet which of these lack a test. If a run notices one, it says so, and does not fail.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tools.mutations.systematic.equivalents import matches, words_of

if TYPE_CHECKING:
    from tools.mutations.systematic.statements import Listed

__all__ = ["STATES", "SURVIVORS", "is_known", "is_undecided", "undecided"]

STATES: Final = ("unnoticed", "alike", "untried")

_COUNTED: Final = "order order by created_at desc, instance_id desc"
"""The order of rows that are only counted, or that an index has. It keeps planners to that index."""
_STATUSES: Final = ("", *(f" @{number}" for number in range(2, 10)))
"""A text is repeated for each status."""

SURVIVORS: Final[tuple[str, ...]] = (
    *(f"sqlite trend {_COUNTED}{again}" for again in _STATUSES),
    *(f"sqlite tally limit 1{again}" for again in _STATUSES),
    f"sqlite trend {_COUNTED} @10",
    f"sqlite newest {_COUNTED}",
    f"sqlite tally_slice {_COUNTED}",
    f"sqlite tally_slice {_COUNTED} @2",
    f"sqlite place_behind {_COUNTED}",
    "sqlite lying order order by instance_id, delivery_id @2",
    "sqlite lying order order by instance_id, delivery_id @3",
    "sqlite owned order order by instance_id",
    "sqlite living_beat conjunct token = :token",
    "sqlite mailboxes conjunct inbox.instance_id = instance.instance_id",
)


@functools.cache
def undecided() -> dict[str, str]:
    """The states of undecided mutants by their words. What is no mutant any more is not missed: a text has changed."""
    text = Path(__file__).with_name("undecided.txt").read_text(encoding="utf-8")
    lines = (line.partition(" ") for line in text.splitlines())
    return {words: state for state, _, words in lines}


def is_undecided(mutant: Listed) -> bool:
    """Whether the mutant is named in the file."""
    return words_of(mutant) in undecided()


def is_known(mutant: Listed) -> bool:
    """Whether the mutant is on the list."""
    return any(matches(mutant, member) for member in SURVIVORS)
