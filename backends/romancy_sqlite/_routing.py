"""The scripts of routing that are operations on SQLite, whose statements return no rows that they changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.storage.routing import OUTSIDE, InterestKind
from romancy.storage.sqlkit import routing
from romancy.storage.sqlkit.dispatches import COUNTED, LETTER
from romancy.storage.sqlkit.statements import Answer, Ask, ask, ask_all, nothing

if TYPE_CHECKING:
    from romancy.storage.sqlkit.dispatches import Decision
    from romancy.storage.sqlkit.statements import Operation, Own, Values

__all__ = ["OWN"]


def _write(values: Values) -> Operation[Answer]:
    """One transaction writes at a time, so deliveries are counted at once."""
    decision: Decision = values["decision"]
    _, takes, _, mail, letters, given, dropped, numbers, marks, holds = decision
    asks = [Ask("end_messages", {"messages": given + dropped})] if given or dropped else []
    if mail:
        asks[:0] = [Ask("give_mail", {"mail": mail}), Ask("count_given", {"mail": sorted({row[:2] for row in mail})})]
    if letters:
        asks.insert(0, Ask("give_letters", {"letters": letters}))
    if takes:
        asks.append(Ask("drop_interests", {"interests": [row[:3] for row in takes]}))
    if holds:
        asks.append(Ask("hold_places", {"places": [(*row[:-1], row[-1].decode()) for row in holds]}))
    if numbers:
        asks.append(Ask("number_addresses", {"numbers": numbers}))
    if marks is not None:
        asks.append(Ask("mark_messages", {"messages": marks.messages}))
        asks.append(Ask("mark_interests", {"interests": marks.interests, "until": marks.until}))
    yield from ask_all(*asks)
    rows = [(row[0], row[1], COUNTED) for row in mail] + [(row[0], row[1], LETTER) for row in letters]
    return Answer(rows, len(rows))


def _register_interest(values: Values) -> Operation[Answer]:
    if values["life"] != OUTSIDE and not (yield from ask("is_open", **values)).rows:
        return Answer([(False, False)], 1)
    if values["other"] is not None:
        kinds = {kind for _, _, _, kind, _ in (yield from ask("interests", **values)).rows}
        if values["other"] in kinds:
            return Answer([(True, False)], 1)
        if values["kind"] == InterestKind.COPY and InterestKind.COPY not in kinds:
            yield from ask("discard", **values)
    yield from ask("add_interest", **values, ahead=0)
    return Answer([(True, True)], 1)


def _expire(values: Values) -> Operation[Answer]:
    old, unread = yield from ask_all(Ask("expire_messages", values), Ask("expire_letters", values))
    return Answer([(old.touched + unread.touched,)], 1)


OWN: Own = {
    "route_write": _write,
    "route_lock": nothing,  # the file is locked
    "register_interest": _register_interest,
    "give_back": routing.give_back_in_parts("return_mail", "drop_mail"),
    "letters_back": routing.letters_back_in_parts("return_letters", "drop_letters"),
    "expire": _expire,
}
