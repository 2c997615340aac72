"""Compares a value with the value that is read back, and finds the first loss.

JSON has fewer types than Python, so successful writing proves nothing: NaN becomes null, the keys 1 and "1" become one,
a subclass loses its own fields. Each value is therefore read back before it is accepted. If the two differ, both are
walked side by side, and only these differences are accepted:

* what the declared type promises to convert: int to float (if no digit is lost), tuple to list and the like;
* where no type is declared (`Any`, `object`), the plain JSON form: an object for a dataclass, text for a datetime.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from uuid import UUID

from romancy.serialization._anatomy import Kind, fields_held, json_children, kind_of
from romancy.serialization._culprit import Culprit, Node, reason_of_leaf
from romancy.serialization._hooks import dump_model
from romancy.serialization._own import own_type_of
from romancy.serialization._types import traits_of_model
from romancy.serialization._value_at_fault import type_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from romancy.serialization._value_at_fault import Segment

_WITH_A_TEXT_FORM: Final = (datetime, date, time, timedelta, UUID, Decimal, bytes, bytearray, memoryview, Enum)

_PLAIN: Final = frozenset({str, int, float, bool, type(None)})

_Pair: TypeAlias = tuple["Segment", Any, Any]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The result of the walk: the first loss, if any, and whether there are sets to sort."""

    loss: Culprit | None
    has_sets: bool


def compare(
    value: object, back: object, *, loose: bool, by_itself: Callable[[object], bool | None] = lambda _: None
) -> Comparison:
    """Walk both values. `loose`: some part of the declared type has no declaration.

    `by_itself` tells of a record in such a part whether it may hold sets, if it would come back equal as its own class,
    and else None. What its class declares then needs no other declaration.
    """
    has_sets = False
    stack: list[tuple[Node, Any]] = [(Node(value), back)]
    while stack:
        node, counterpart = stack.pop()
        if node.value is counterpart:
            continue
        kind = kind_of(node.value)
        has_sets = has_sets or kind is Kind.SET
        if loose and (kind.is_record or kind is Kind.OWN) and type(node.value) is not type(counterpart):
            may_hold_sets = by_itself(node.value)
            if may_hold_sets is not None:
                has_sets = has_sets or may_hold_sets
                continue
        if kind is Kind.MODEL:
            has_sets = has_sets or traits_of_model(type(node.value)).sets
            if loose and type(node.value) is not type(counterpart):
                node = node.instead(dump_model(node.value))
                kind = kind_of(node.value)
        outcome = _compare_one(kind, node.value, counterpart, loose=loose)
        if isinstance(outcome, str):
            return Comparison((node.path, outcome), has_sets)
        stack.extend((node.child(segment, a), b) for segment, a, b in reversed(outcome) if not _is_settled(a, b))
    return Comparison(None, has_sets)


def _is_settled(value: object, back: object) -> bool:
    """Whether a child is plain and equal. Most are, and need no comparison of their own."""
    return type(value) in _PLAIN and value == back


def _compare_one(kind: Kind, value: Any, back: Any, *, loose: bool) -> str | list[_Pair]:
    """The reason why this part would be lost, or the pairs of children to compare next."""
    if kind is Kind.MAPPING:
        return _compare_mapping(value, back, loose=loose)
    if kind in (Kind.ARRAY, Kind.SET):
        return _compare_array(value, back, loose=loose)
    if kind.is_record:
        return _compare_record(value, back, loose=loose)
    return _compare_leaf(value, back, loose=loose)


def _compare_mapping(value: dict[Any, Any], back: Any, *, loose: bool) -> str | list[_Pair]:
    if kind_of(back) is not Kind.MAPPING:
        return _mismatch(value, back, loose=loose)
    for key in value:
        if key not in back:
            return _lost_key(key, back)
    return [(key, child, back[key]) for key, child in value.items()]


def _lost_key(key: object, found: dict[Any, Any]) -> str:
    if reason := reason_of_leaf(key):
        return f"in a key, {reason}"
    if not isinstance(key, str):
        name = type_name(type(key))
        return f"a key of type {name} would come back as str; declare `dict[{name}, …]` or use text keys"
    if found and not all(isinstance(other, str) for other in found):
        return "a key of type str was given where another type is declared"
    return "it has a key that its type does not declare, which would be lost"


def _compare_array(value: Any, back: Any, *, loose: bool) -> str | list[_Pair]:
    kind = kind_of(back)
    if kind is Kind.SET and kind_of(value) is Kind.SET:
        return [] if value == back else "an element does not come back equal"
    if kind is not Kind.ARRAY:
        return _mismatch(value, back, loose=loose)
    children = list(json_children(value))
    if len(children) != len(back):
        return _mismatch(value, back, loose=loose)
    return [(segment, child, other) for (segment, child), other in zip(children, back, strict=True)]


def _compare_record(value: object, back: Any, *, loose: bool) -> str | list[_Pair]:
    if type(value) is type(back):
        others = dict(fields_held(back))
        for name in others.keys() - {name for name, _ in json_children(value)}:
            if kind_of(value) is Kind.ATTRS and not _equal(getattr(value, name), others[name]):
                return f"its private field {name!r} is not written and would be lost"
        return [(name, child, others.get(name)) for name, child in fields_held(value)]
    if loose and kind_of(back) is Kind.MAPPING:
        return [(name, child, back[name]) for name, child in json_children(value) if name in back]
    if loose and kind_of(back) is Kind.ARRAY:
        return _compare_array([child for _, child in json_children(value)], back, loose=loose)
    return _mismatch(value, back, loose=loose)


def _compare_leaf(value: Any, back: Any, *, loose: bool) -> str | list[_Pair]:
    if _equal(value, back) or _own_equal(value, back):
        return []
    if type(value) is type(back):
        return _compare_alike(value, back)
    if reason := reason_of_leaf(value):
        return reason
    if loose and _has_text_form(value) and not _has_text_form(back):
        return []
    if type(value) is int and type(back) is float:
        return "the integer has more digits than a float can hold; declare int or Decimal"
    return _mismatch(value, back, loose=loose)


def _has_text_form(value: object) -> bool:
    return issubclass(type(value), _WITH_A_TEXT_FORM)


def _compare_alike(value: object, back: object) -> str | list[_Pair]:
    """Compare two leaves of one type that are not equal by `==`."""
    if isinstance(value, Decimal):
        return [] if str(value) == str(back) else "the decimal would change"
    if isinstance(value, datetime | time) and isinstance(back, datetime | time):
        if value.isoformat() == back.isoformat():
            return []
        return "its UTC offset has seconds, which no text form of a time holds; convert it to UTC"
    return f"an object of type {type_name(type(value))} does not come back equal to itself"


def _equal(value: object, back: object) -> bool:
    try:
        return bool(value == back)
    except Exception:  # noqa: BLE001 (a signalling Decimal, or an __eq__ of the user's)
        return False


def _own_equal(value: object, back: object) -> bool:
    """Whether the `equal` of a registered class says so."""
    own = own_type_of(type(value))
    if own is None or own.equal is None or not isinstance(back, own.cls):
        return False
    try:
        return bool(own.equal(value, back))
    except Exception:  # noqa: BLE001 (a function of the user's)
        return False


def _mismatch(value: object, back: object, *, loose: bool) -> str:
    given, found = type_name(type(value)), type_name(type(back))
    return f"{given} would come back as {found}" if loose else f"{given} was given where {found} is declared"
