"""The script of routing that is an operation on PostgreSQL: a statement moves rows, and says which it has found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from romancy.storage.routing import OUTSIDE, is_lane, whole_lane
from romancy.storage.sqlkit.dispatches import COUNTED, LATE, LETTER, OVER
from romancy.storage.sqlkit.portions import portions
from romancy.storage.sqlkit.statements import Answer, ask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.storage.sqlkit.dispatches import Decision
    from romancy.storage.sqlkit.statements import Operation, Own, Values

__all__ = ["COUNT_AT_ONCE", "OWN"]

_COPIES_AT_ONCE: Final = 5000
COUNT_AT_ONCE: Final = 500


def _write(values: Values) -> Operation[Answer]:
    """What is gone by now is left out: interests and messages are locked where they are used."""
    decision: Decision = values["decision"]
    given: list[Sequence[Any]] = []
    takes = decision.takes
    if takes:
        given += (yield from ask("route_take", takes=takes)).rows
    if decision.holds:
        # Of the demands, those that are still there. What a lane notes of itself has no delivery.
        went = {(owner, delivery_id) for owner, _, delivery_id in given}
        mailed = {(owner, life, one) for owner, life, one, delivery_id, *_ in takes if (owner, delivery_id) in went}
        holds = [row for row in decision.holds if row[1] == OUTSIDE or tuple(row[:3]) in mailed]
        yield from ask("hold_places", places=holds)
    # A taker whose message was gone stays, and was not compared with what came after it.
    marks = decision.marks if len(given) == len(takes) else None
    for copies in portions(decision.copies, lambda _: 1, _COPIES_AT_ONCE):
        given += (yield from ask("route_copy", copies=copies)).rows
    taken = {(whole_lane(one) if is_lane(one) else one, message_id) for *_, one, message_id, _ in takes}
    finished = sorted({*decision.given, *decision.dropped} - taken)
    if finished or decision.numbers:
        yield from ask("route_finish", finished=finished, numbers=decision.numbers)
    if marks is not None:
        yield from ask("route_mark", messages=marks.messages, interests=marks.interests, until=marks.until)
    mail = sorted((owner, one) for owner, life, one in given if life)
    counted: dict[str, bool] = {}
    if 0 < len(mail) <= COUNT_AT_ONCE:
        counted = {row[0]: row[1] for row in (yield from ask("route_count", mail=mail)).rows}
    rows = [(owner, one, _state(owner, counted) if life else LETTER) for owner, life, one in given]
    return Answer(rows, len(rows))


def _state(owner: str, counted: dict[str, bool]) -> str:
    if owner not in counted:
        return LATE
    return OVER if counted[owner] else COUNTED


OWN: Own = {"route_write": _write}
