"""Removing what has ended, in parts: DELETE returns no rows, and knows no CTE."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Final

from romancy.status import TERMINAL_STATUSES
from romancy.storage.sqlkit.pruning import cut_streams
from romancy.storage.sqlkit.statements import Answer, Ask, ask, ask_all, ask_last

if TYPE_CHECKING:
    from romancy.storage.sqlkit.statements import Operation, Own, Values

__all__ = ["OWN", "REMOVAL"]

_RUNS_AT_ONCE = 200
_SILENT = 3_600_000_000

REMOVAL: Final = (
    "prune_interests", "hold_taken", "return_taken", "prune_log", "prune_journal", "prune_inbox", "prune_uncounted",
    "forget_instances", "drop_index", "prune_instances",
)  # fmt: skip
"""Scripts that remove instances, whose rows the caller holds, with all data under their ids, in this order.

Messages that they have taken and not consumed are kept at their addresses again.
"""


def _prune_chosen(values: Values) -> Operation[Answer]:
    answers = yield from ask_last(*(Ask(name, values) for name in REMOVAL))
    return answers[-1]


def _prune_old(values: Values) -> Operation[Answer]:
    """Each status is read in the order of its index, so that no more rows are locked than are read."""
    statuses = sorted(TERMINAL_STATUSES.intersection(values["statuses"]))
    answers = yield from ask_all(*(Ask("find_old", {**values, "status": status}) for status in statuses))
    rows = [row for answer in answers for row in answer.rows][: values["limit"]]
    return Answer(rows, len(rows))


def _prune_runs(values: Values) -> Operation[Answer]:
    while True:
        runs = sorted((yield from ask("former_runs", limit=_RUNS_AT_ONCE)).rows, key=itemgetter(0))
        if runs:
            yield from cut_streams(runs, values)
            yield from ask("drop_former_runs", runs=runs)
        if len(runs) < _RUNS_AT_ONCE:
            return Answer((), 0)


def _prune_workers(_: Values) -> Operation[Answer]:
    tokens = [row[0] for row in (yield from ask("dead_workers", age=_SILENT)).rows]
    return (yield from ask("drop_workers", tokens=tokens)) if tokens else Answer((), 0)


OWN: Final[Own] = {
    "prune_chosen": _prune_chosen,
    "prune_old": _prune_old,
    "prune_runs": _prune_runs,
    "prune_workers": _prune_workers,
}
