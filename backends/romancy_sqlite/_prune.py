"""Removing what has ended, in the parts that SQLite does it in: a CTE of SQLite's changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from romancy.storage.limits import can_be_id
from romancy.storage.sqlkit.statements import Answer, Ask, ask, ask_all

if TYPE_CHECKING:
    from collections.abc import Collection

    from romancy.status import Status
    from romancy.storage.sqlkit.statements import Operation, Own, Values
    from romancy_sqlite._connection import Tx

__all__ = ["KEYS_AT_ONCE", "OWN", "clear"]

KEYS_AT_ONCE = 1000
"""One transaction must not hold the writer long."""

_REMOVAL: Final = ("prune_interests", "return_taken", "prune_log", "prune_inbox", "drop_index", "prune_instances")
"""Scripts that remove instances with all data under their ids, in this order."""


def clear(tx: Tx, instance_id: str, life: int, statuses: Collection[Status]) -> bool:
    """Remove an ended instance of this life and one of these statuses, with all data under its id."""
    chosen = {"instance_id": instance_id, "life": life, "statuses": _json([status.value for status in statuses])}
    if not can_be_id(instance_id) or tx.row("prune_one", chosen) is None:
        return False
    for name in _REMOVAL:
        tx.run(name, {"ids": _json([instance_id])})
    return True


def _prune_chosen(values: Values) -> Operation[Answer]:
    answers = yield from ask_all(*(Ask(name, values) for name in _REMOVAL))
    return answers[-1]


def _prune_runs(values: Values) -> Operation[Answer]:
    runs = (yield from ask("former_runs", **values)).rows
    if runs:
        yield from ask_all(Ask("drop_former_runs", {"runs": runs}), Ask("mark_dropped_runs", {"runs": runs}))
    return Answer((), len(runs))


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


OWN: Final[Own] = {"prune_chosen": _prune_chosen, "prune_runs": _prune_runs}
