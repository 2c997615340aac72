"""Removing what has ended, in the parts that SQLite does it in: a CTE of SQLite's changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from romancy.storage.sqlkit.pruning import cut_streams
from romancy.storage.sqlkit.statements import Answer, Ask, ask, ask_all

if TYPE_CHECKING:
    from romancy.storage.sqlkit.statements import Operation, Own, Values
    from romancy_sqlite._connection import Tx

__all__ = ["KEYS_AT_ONCE", "OWN", "remove"]

KEYS_AT_ONCE = 1000
"""One transaction must not hold the writer long."""

_REMOVAL: Final = (
    "prune_interests", "return_taken", "prune_log", "prune_journal", "prune_inbox", "forget_instances", "drop_index",
    "prune_instances",
)  # fmt: skip
"""Scripts that remove instances with all data under their ids, in this order."""


def remove(tx: Tx, instance_id: str) -> None:
    """Remove an instance, which has ended, with all data under its id."""
    for name in _REMOVAL:
        tx.run(name, {"ids": _json([instance_id])})


def _prune_chosen(values: Values) -> Operation[Answer]:
    answers = yield from ask_all(*(Ask(name, values) for name in _REMOVAL))
    return answers[-1]


def _prune_runs(values: Values) -> Operation[Answer]:
    runs = (yield from ask("former_runs", **values)).rows
    if runs:
        yield from cut_streams(runs, values)
        yield from ask_all(Ask("drop_former_runs", {"runs": runs}), Ask("mark_dropped_runs", {"runs": runs}))
    return Answer((), len(runs))


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


OWN: Final[Own] = {"prune_chosen": _prune_chosen, "prune_runs": _prune_runs}
