"""The scripts that are operations on TiDB, because it leaves out what others hold only by key (`_tidb.py`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from romancy.status import TERMINAL_STATUSES
from romancy.storage.sqlkit.statements import Answer, Ask, ask, look
from romancy_mysql._routing import write_uncounted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.storage.sqlkit.statements import Operation, Own, Values

__all__ = ["NOWAIT", "OWN"]

NOWAIT: Final = frozenset({"free_instances", "free_place", "ended_locked", "outbox_locked"})
"""The scripts that fail if somebody holds one of their rows, which the interpreter then leaves out."""


def _prune_old(values: Values) -> Operation[Answer]:
    statuses = sorted(TERMINAL_STATUSES.intersection(values["statuses"]))
    answers = yield from look(*(Ask("old_instances", {**values, "status": status}) for status in statuses))
    ids = [row[0] for answer in answers for row in answer.rows][: values["limit"]]
    return (yield from _ended(ids, statuses, values["before"] - 1))


def _prune_named(values: Values) -> Operation[Answer]:
    (found,) = yield from look(Ask("named_instances", values))
    return (yield from _ended([row[0] for row in found.rows], values["statuses"], values["until"]))


def _ended(ids: list[str], statuses: Sequence[str], until: int) -> Operation[Answer]:
    if not ids:
        return Answer((), 0)
    return (yield from ask("ended_locked", ids=sorted(ids), statuses=[*statuses], until=until))


def _outbox_due(values: Values) -> Operation[Answer]:
    """Twice as many are read as are wanted, for the case that another relay holds the first ones."""
    limit = values["limit"]
    (seen,) = yield from look(Ask("outbox_seen", {"limit": 2 * limit}))
    ids = [row[0] for row in seen.rows]
    rows: list[Sequence[object]] = []
    while ids and len(rows) < limit:
        some, ids = ids[: limit - len(rows)], ids[limit - len(rows) :]
        rows += (yield from ask("outbox_locked", ids=sorted(some))).rows
    return Answer(rows, len(rows))


OWN: Final[Own] = {
    "prune_old": _prune_old,
    "prune_named": _prune_named,
    "outbox_due": _outbox_due,
    "route_write": write_uncounted,
}
