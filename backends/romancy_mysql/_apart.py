"""What nobody holds of the work of a dead worker: neither a row of an instance, nor a place in its log.

Some rows of a worker may be held for long. They are left out, so that the rest is freed without them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from romancy.storage.sqlkit.statements import Answer, Ask, ask, ask_all

if TYPE_CHECKING:
    from romancy.storage.sqlkit.statements import Operation, Values

__all__ = ["free_apart", "free_apart_at_levels", "free_apart_by_probes"]

_LOOKED_AT: Final = 1000
"""How many instances of a dead worker are looked at, beyond those wanted, for some that nobody holds."""


def free_apart(values: Values) -> Operation[Answer]:
    """One portion of what nobody holds."""
    owned = _owned(values)
    now, _, ahead = yield from ask_all(owned, Ask("see_uncommitted", {}), owned)
    return (yield from _free(values, [row[0] for row in now.rows if row in ahead.rows]))


def free_apart_at_levels(values: Values) -> Operation[Answer]:
    """The same where a level of isolation stays."""
    owned = _owned(values)
    now, _, ahead, _ = yield from ask_all(owned, Ask("see_uncommitted", {}), owned, Ask("see_committed", {}))
    return (yield from _free(values, [row[0] for row in now.rows if row in ahead.rows]))


def free_apart_by_probes(values: Values) -> Operation[Answer]:
    """The same where nothing shows what is not committed, and a lock that does not wait is a probe."""
    one = _owned(values)
    owned = (yield from ask(one.script, **one.values)).rows
    places = [{"instance_id": one, "life": life, "seq": head + 1} for one, life, head in owned]
    found = (yield from ask_all(*(Ask("free_place", place) for place in places))) if places else []
    return (yield from _free(values, [row[0] for row, answer in zip(owned, found, strict=True) if not answer.rows]))


def _owned(values: Values) -> Ask:
    return Ask("read_owned", {**values, "limit": values["limit"] + _LOOKED_AT, "every": True, "ids": []})


def _free(values: Values, calm: list[str]) -> Operation[Answer]:
    free = (yield from ask("free_instances", ids=calm)).rows if calm else ()
    portion = sorted(row[0] for row in free)[: values["limit"]]
    return Answer([(1, one) for one in portion], len(portion))
