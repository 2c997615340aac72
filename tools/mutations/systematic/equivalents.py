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


EQUIVALENTS: Final[tuple[Equivalents, ...]] = (
    Equivalents(
        "cut again",
        "The limit bounds what is read; the adapter, or the statement itself, cuts the answer to the same size again.",
        (
            "sqlite outbox_counts limit :most",
            "sqlite outbox_counts limit :most @2",
            "postgres claim limit $4::bigint",
            "* still_owned limit 1",
        ),
    ),
    Equivalents(
        "spares work",
        "It says where there may be something to do. What then looks for it finds nothing where there is nothing.",
        (
            "sqlite route_due conjunct exists (select 1 from romancy_interests *",
            "sqlite route_due conjunct exists (select 1 from romancy_messages where address = wanted.value)",
            "sqlite route_due conjunct address = wanted.value @3",
        ),
    ),
    Equivalents(
        "said again",
        "Another condition of the statement is false too where this one is false: no value is equal to null.",
        (
            "sqlite outbox_due conjunct order_key is not null",
            "sqlite outbox_sweep conjunct order_key is not null @2",
            "sqlite outbox_record conjunct romancy_outbox.state = 'pending'",
        ),
    ),
    Equivalents(
        "first row",
        "SQLite takes the first row of a query in the place of a value.",
        ("sqlite outbox_promote limit 1",),
    ),
    Equivalents(
        "size of a transaction",
        "The limit bounds how long one transaction holds up others; a call promises no number.",
        ("sqlite former_runs limit :limit",),
    ),
    Equivalents(
        "decided alone",
        "A batch is refused without need; each of its items is then decided alone, by another statement.",
        ("sqlite change_instances alternative not column3",),
    ),
    Equivalents(
        "said for a planner",
        "It follows from the comparison of rows beside it, which MySQL and MariaDB do not look up in an index.",
        (
            "* place_behind conjunct created_at <= *",
            "* tally_slice conjunct created_at <= *",
            "* lying conjunct instance_id >= *",
        ),
    ),
    Equivalents(
        "kept is known",
        "A worker that keeps mail up to a number knows that counter, so a mailbox without news is left out.",
        ("sqlite mailboxes comparison kept.value <= owned.signals",),
    ),
)


def words_of(mutant: Listed) -> str:
    """How a member names the mutant. Of pieces that look alike in a statement, the second ends with ` @2`."""
    again = f" @{mutant.alike}" if mutant.alike > 1 else ""
    return f"{mutant.dialect} {mutant.statement} {mutant.kind} {mutant.was}{again}"


def class_of(mutant: Listed) -> Equivalents | None:
    """The class that the mutant is in."""
    return next((one for one in EQUIVALENTS if one.has(mutant)), None)


def _pattern(member: str) -> str:
    """Of the signs of a pattern, SQL has `?` and `[` itself."""
    return member.replace("[", "[[]").replace("?", "[?]")
