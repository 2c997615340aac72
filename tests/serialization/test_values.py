"""Values come back equal and of their declared type; every process writes the same JSON for them."""

from __future__ import annotations

import sys
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Annotated, Any, Literal, LiteralString, NewType
from uuid import UUID

import msgspec
import pytest

from romancy.errors import SerializationError
from romancy.serialization import MAX_DEPTH, Where, dumps, loads
from tests.serialization import models as m

WHERE = Where("result", "activity 'charge'")
NAIVE = datetime(2024, 1, 1)  # noqa: DTZ001 (naive on purpose)


def round_trip(value: object, declared: Any) -> Any:
    return loads(dumps(value, WHERE, declared), declared, WHERE)


class Autumn(tzinfo):
    """A zone in which every hour occurs twice: first in summer time, then (fold=1) in winter time."""

    def utcoffset(self, dt: datetime | None) -> timedelta:
        return timedelta(hours=1 if dt is not None and dt.fold else 2)

    def dst(self, dt: datetime | None) -> timedelta:
        return self.utcoffset(dt) - timedelta(hours=1)

    def tzname(self, dt: datetime | None) -> str:
        return "autumn"


UserId = NewType("UserId", int)


EQUAL: list[tuple[Any, Any]] = [
    ("", str),
    ("\x00\x1f\x7f", str),
    ("é e\u0301 \u200b\u202e \ufffd \U0001f600 \U0010ffff", str),
    (2**53 + 1, int),
    (2**63 - 1, int),
    (-(2**63), int),
    (2**64 + 1, int),
    (10**4000, int),
    (10**30, Any),
    (1e308, float),
    (5e-324, float),
    (0.1 + 0.2, float),
    (True, bool),
    (None, None),
    (b"\x00\xff", bytes),
    (Decimal("1.50"), Decimal),
    (Decimal("-0"), Decimal),
    (Decimal("1E-400"), Decimal),
    (Decimal("9" * 60), Decimal),
    (NAIVE, datetime),
    (datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))), datetime),
    (datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=timezone(timedelta(hours=-12))), datetime),
    (date.min, date),
    (date.max, date),
    (time(23, 59, 59, 999999), time),
    (time(1, tzinfo=UTC), time),
    (timedelta.max, timedelta),
    (timedelta.min, timedelta),
    (timedelta(days=-1, microseconds=1), timedelta),
    (UUID(int=2**128 - 1), UUID),
    (m.Colour.RED, m.Colour),
    (m.Size.LARGE, m.Size),
    (m.Level.HIGH, m.Level),
    (m.Access.READ | m.Access.WRITE, m.Access),
    ([], list[int]),
    ({}, dict[str, int]),
    ({1: "a"}, dict[int, str]),
    ({1.5: "a"}, dict[float, str]),
    ({m.Colour.RED: 1}, dict[m.Colour, int]),
    ({UUID(int=1): 1}, dict[UUID, int]),
    ({date(2024, 1, 1): 1}, dict[date, int]),
    ({Decimal("1.0"): 1}, dict[Decimal, int]),
    ({"a.b": 1, 'c"d': 2, "": 3}, dict[str, int]),
    ({1, 2, 3}, set[int]),
    (frozenset({"a"}), frozenset[str]),
    ((1, "a"), tuple[int, str]),
    ((), tuple[int, ...]),
    ([1, 2], Sequence[int]),
    ([1, 2], Collection[int]),
    ({1, 2}, AbstractSet[int]),
    ({"a": 1}, Mapping[str, int]),
    (3, int | str | None),
    ("x", int | str | None),
    (Decimal(1), Decimal | int),
    ("on", Literal["on", "off"]),
    (7, UserId),
    ("x", LiteralString),
    (5, Annotated[int, msgspec.Meta(ge=0)]),
    (m.Order([m.Item(1.5, 2)]), m.Order),
    (m.Order([]), m.Order | None),
    (m.Page([m.Item(1.0)]), m.Page[m.Item]),
    (m.Tree("a", [m.Tree("b", [])]), m.Tree),
    (m.Crate(Decimal("1.0"), {"a", "b"}), m.Crate),
    ({"street": "x"}, m.Address),
    (m.Place(1.0), m.Place),
    (m.Renamed("Ada"), m.Renamed),
    (m.Cash(Decimal(5)), m.Card | m.Cash),
    (m.Packed([1], {"a", "b"}), m.Packed),
    (m.Approved("x"), m.Approved | m.Rejected),
    (m.Rejected("x", 3), m.Approved | m.Rejected | None),
    ([m.Approved("x"), None, m.Rejected("y")], list[m.Approved | m.Rejected | None]),
    ({"a": (m.Approved("x"), 3)}, dict[str, tuple[m.Approved | m.Rejected | int, int]]),
    ({1: frozenset({m.Point(1, 2)})}, dict[int, frozenset[m.Point]]),
    ({"a": [1, 2.5, None, True, "x", {"b": []}]}, Any),
    ({"a": [1, 2.5, None, True, "x", {"b": []}]}, object),
    ({"a": [1, None]}, dict[str, object]),
]


@pytest.mark.parametrize(
    ("value", "declared"),
    EQUAL,
    ids=m.label,
)
def test_comes_back_equal_and_of_its_type(value: object, declared: Any) -> None:
    back = round_trip(value, declared)

    assert value == back
    assert type(value) is type(back)


@pytest.mark.parametrize(
    ("value", "text"),
    [(-0.0, b"-0.0"), (1.0, b"1.0"), (1, b"1"), (Decimal("1.50"), b'"1.50"'), ("\x00", b'"\\u0000"')],
)
def test_writes_what_equality_does_not_see(value: object, text: bytes) -> None:
    assert text == dumps(value, WHERE)


@pytest.mark.parametrize("fold", [0, 1])
def test_keeps_an_hour_that_comes_twice_by_its_offset(fold: int) -> None:
    moment = datetime(2024, 10, 27, 2, 30, tzinfo=Autumn(), fold=fold)

    back = round_trip([moment], list[datetime])[0]

    assert moment.isoformat() == back.isoformat()
    assert moment.utcoffset() == back.utcoffset()


def test_keeps_a_naive_datetime_naive() -> None:
    assert round_trip(NAIVE, datetime).tzinfo is None


def test_keeps_the_order_of_dicts_and_sorts_sets() -> None:
    value = {"z": {"c", "a", "b"}, "a": [{3, 1, 2}], "m": frozenset({frozenset({2, 1}), frozenset({0})})}

    assert b'{"z":["a","b","c"],"a":[[1,2,3]],"m":[[0],[1,2]]}' == dumps(value, WHERE)


SETS: list[tuple[Any, Any, bytes]] = [
    ({1, "a", None}, Any, b'["a",1,null]'),
    ({m.Colour.RED, m.Colour.GREEN}, set[m.Colour], b'["g","r"]'),
    ({m.Point(2, 1), m.Point(1, 2)}, set[m.Point], b'[{"x":1,"y":2},{"x":2,"y":1}]'),
    ({7: {"b", "a"}}, dict[int, set[str]], b'{"7":["a","b"]}'),
    (m.Packed(1, {"b", "a", "c"}), m.Packed, b'[1,["a","b","c"]]'),
    ([m.Packed(1, {"b", "a", "c"})], Any, b'[[1,["a","b","c"]]]'),
    (m.Crate(Decimal(1), {"b", "a"}), m.Crate, b'{"labels":["a","b"],"weight":"1"}'),
]


@pytest.mark.parametrize(
    ("value", "declared", "text"),
    SETS,
    ids=m.label,
)
def test_sorts_sets_wherever_they_are(value: object, declared: Any, text: bytes) -> None:
    assert text == dumps(value, WHERE, declared)


PLAIN: list[tuple[Any, Any]] = [
    ((1, (2,)), [1, [2]]),
    ({"at": datetime(2024, 1, 1, tzinfo=UTC)}, {"at": "2024-01-01T00:00:00Z"}),
    (
        [UUID(int=1), Decimal("1.0"), date(2024, 1, 2), b"a", m.Colour.RED, m.Size.SMALL, timedelta(1)],
        ["00000000-0000-0000-0000-000000000001", "1.0", "2024-01-02", "YQ==", "r", 1, "P1D"],
    ),
    (m.Order([m.Item(1.5)]), {"items": [{"price": 1.5, "count": 0}], "note": None}),
    (m.Place(1.0), [1.0, 0.0]),
    (m.Renamed("Ada"), {"firstName": "Ada"}),
    (m.Crate(Decimal(1), set(), 7), {"weight": "1", "labels": []}),
    (Counter("aab"), {"a": 2, "b": 1}),
]


@pytest.mark.parametrize(
    ("value", "plain"),
    PLAIN,
    ids=m.label,
)  # fmt: skip
def test_without_a_declared_type_plain_json_comes_back(value: object, plain: object) -> None:
    assert plain == round_trip(value, Any)


class Text(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "something else"


class Whole(int):
    pass


class Ratio(float):
    pass


class Moment(datetime):
    pass


class Amount(Decimal):
    pass


SUBCLASSES: list[tuple[Any, Any]] = [
    (Text("a"), str),
    (Whole(3), int),
    (Ratio(1.5), float),
    (Moment(2024, 1, 1, 2, 3, 4, 5, UTC), datetime),
    (Amount("1.50"), Decimal),
    (bytearray(b"a"), bytes),
    (memoryview(b"a"), bytes),
    (OrderedDict(a=1), dict[str, int]),
    (defaultdict(list[int], a=[1]), dict[str, list[int]]),
    (m.Size.SMALL, int),
    (5, float),
    ({Text("a"): 1}, dict[str, int]),
]


@pytest.mark.parametrize(
    ("value", "declared"),
    SUBCLASSES,
    ids=m.label,
)
def test_a_subclass_may_stand_for_its_base(value: object, declared: Any) -> None:
    back = round_trip(value, declared)

    assert value == back


def test_reads_what_older_code_wrote() -> None:
    assert m.Item(1.0, 0) == loads(b'{"price":1.0,"gone":[1,2]}', m.Item, WHERE)


def test_the_last_of_two_equal_keys_counts() -> None:
    assert {"a": 2} == loads(b'{"a":1,"a":2}', Any, WHERE)


def test_reads_raw_json_out_of_an_event() -> None:
    assert [1] == loads(msgspec.Raw(b"[1]"), list[int], "value")


def test_depth_is_the_same_however_deep_the_stack_is() -> None:
    def at_depth(frames: int) -> bytes:
        return at_depth(frames - 1) if frames else dumps(m.nested(MAX_DEPTH), WHERE)

    assert dumps(m.nested(MAX_DEPTH), WHERE) == at_depth(sys.getrecursionlimit() // 2)


@pytest.mark.parametrize("text", ["[" * 300, "]" * 300, "[{" * 300, '"[' * 300, "\\" * 301 + '"[' * 300])
def test_brackets_in_strings_are_no_depth(text: str) -> None:
    assert [text, [text]] == round_trip([text, [text]], Any)


def test_many_containers_side_by_side_are_no_depth() -> None:
    value = [{"a": [i]} for i in range(1_000)]

    assert value == round_trip(value, Any)


def test_writes_ten_megabytes_of_text_and_a_million_elements() -> None:
    assert 10_000_002 == len(dumps("x" * 10_000_000, WHERE))
    assert list(range(1_000_000)) == round_trip(list(range(1_000_000)), list[int])


@dataclass(eq=False)
class Raises:
    value: float

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no comparison")

    __hash__ = None  # type: ignore[assignment]


def test_an_eq_that_raises_is_no_obstacle() -> None:
    assert b'{"value":1.5}' == dumps(Raises(1.5), WHERE, Raises)


def test_a_union_takes_the_member_that_accounts_for_all_of_the_document() -> None:
    union = m.Short | m.Long | m.Labelled

    for value in (m.Short(1), m.Long(1, 2), m.Long(1), m.Labelled(1, {"a", "b"})):
        assert value == round_trip(value, union)
    assert m.Long(1, 2) == loads(b'{"y":2,"x":1}', union, WHERE)
    assert m.Labelled(1, {"a", "b"}) == loads(b'{"labels":["b","a"],"x":1}', union, WHERE)


def test_a_union_reads_what_older_code_wrote_if_only_one_member_fits() -> None:
    assert m.Approved("x") == loads(b'{"by":"x","gone":1}', m.Approved | m.Rejected, WHERE)
    assert m.Rejected("x", 0) == loads(b'{"reason":"x"}', m.Approved | m.Rejected, WHERE)


@dataclass
class Twin:
    """Its JSON is that of `Short`."""

    x: int


def test_a_union_does_not_guess() -> None:
    with pytest.raises(SerializationError, match=r"expected exactly one of .*Short | .*Long, and 2 fit"):
        loads(b'{"x":1,"gone":1}', m.Short | m.Long, WHERE)
    with pytest.raises(SerializationError, match=r"expected exactly one of .*Short | .*Twin, and 2 fit"):
        loads(b'{"x":1}', m.Short | Twin, WHERE)
