"""A value that would not come back is refused where it is produced, with its path, its reason and an alternative."""

from __future__ import annotations

import asyncio
import io
import re
import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import InitVar, dataclass
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Never, NoReturn

import msgspec
import pytest

from romancy.errors import RegistrationError, SerializationError
from romancy.serialization import MAX_DEPTH, Where, dumps, loads
from tests.serialization import models as m

WHERE = Where("result", "activity 'charge'")
NAIVE = datetime(2024, 1, 1)  # noqa: DTZ001 (naive on purpose)


def refusal_of(value: object, declared: Any = Any) -> str:
    with pytest.raises(SerializationError) as caught:
        dumps(value, WHERE, declared)
    return str(caught.value).removeprefix(str(WHERE)).lstrip(": ")


class Ratio(float):
    pass


REFUSED: list[tuple[Any, Any, str]] = [
    (float("nan"), Any, "NaN is not JSON"),
    (float("nan"), float | None, "NaN is not JSON"),
    ([float("-inf")], list[float], "at $[0]: Infinity is not JSON"),
    (Ratio("nan"), Any, "NaN is not JSON"),
    ({float("nan"): 1}, dict[float, int], "in a key, NaN is not JSON"),
    (m.Order([m.Item(1.0), m.Item(float("nan"))]), m.Order, "at $.items[1].price: NaN is not JSON"),
    (m.Renamed("Ada", score=float("nan")), m.Renamed, "at $.score: NaN is not JSON"),
    (m.Unequal("a", float("nan")), m.Unequal, "at $.seen: NaN is not JSON"),
    (m.ByIdentity(1, float("inf")), m.ByIdentity, "at $.plain: Infinity is not JSON"),
    ({"a.b": {'x"y': [float("nan")]}}, Any, 'at $["a.b"]["x\\"y"][0]: NaN is not JSON'),
    ("\ud800", Any, "the text holds half of a surrogate pair"),
    ({"a": ["x", "\udfff"]}, Any, "at $.a[1]: the text holds half of a surrogate pair"),
    ({"\ud800": 1}, Any, "in a key, the text holds half of a surrogate pair"),
    (10**5000, int, "the integer has more than 4300 digits"),
    (2**53 + 1, float, "the integer has more digits than a float can hold"),
    ({1: "a", "1": "b"}, Any, "a key of type int would come back as str; declare `dict[int, …]`"),
    ({1: "a"}, dict[str, str], "a key of type int would come back as str"),
    ([{m.Colour.RED: 1}], Any, "at $[0]: a key of type"),
    ({True: 1}, Any, "a key is of type bool"),
    ({True: 1}, dict[int, int], "a key is of type bool"),
    ({None: 1}, Any, "a key is of type NoneType"),
    ({(1, 2): 1}, Any, "a key is of type tuple"),
    ({"a": 1}, dict[int, int], "in a key, expected int, got str"),
    ({"street": "x", "extra": 1}, m.Address, "it has a key that its type does not declare"),
    ({}, m.Address, "object missing required field street"),
    ("5", int, "expected int, got str"),
    (5, str, "expected str, got int"),
    (True, int, "expected int, got bool"),
    (1, bool, "expected bool, got int"),
    (1.0, int, "expected int, got float"),
    (None, int, "expected int, got None"),
    (5, None, "expected None, got int"),
    (5, NoReturn, "expected None, got int"),
    (5, Never, "expected None, got int"),
    ([1, "a"], list[int], "at $[1]: expected int, got str"),
    ("2024-01-01T00:00:00", datetime, "str was given where datetime.datetime is declared"),
    (NAIVE, str, "datetime.datetime was given where str is declared"),
    ("r", m.Colour, "str was given where tests.serialization.models.Colour is declared"),
    ("x", m.Colour, "not one of the values declared"),
    ([1], set[int], "list was given where set is declared"),
    ({"price": 1.0, "count": 0}, m.Item, "dict was given where tests.serialization.models.Item is declared"),
    (m.Point(1, 2), dict[str, int], "tests.serialization.models.Point was given where dict is declared"),
    ((1.0,), m.Place, "tuple was given where tests.serialization.models.Place is declared"),
    ({"a": float("nan"), "b": float("nan")}, Any, "at $.a: NaN is not JSON"),
    ({"a": "\ud800", "b": "\ud800"}, Any, "at $.a: the text holds half"),
    ([Ratio("inf"), [float("nan")]], list[object], "at $[0]: Infinity is not JSON"),
    (m.SpecialItem(1.0, 2, 0.5), m.Item, "SpecialItem was given where tests.serialization.models.Item is"),
    (m.Order([m.SpecialItem(1.0)]), m.Order, "at $.items[0]: tests.serialization.models.SpecialItem was given"),
    (m.Crate(Decimal(1), set(), 7), m.Crate, "its private field '_secret' is not written"),
    (-1, Annotated[int, msgspec.Meta(ge=0)], "expected int >= 0"),
    (datetime(2024, 1, 1, tzinfo=timezone(timedelta(minutes=53, seconds=28))), datetime, "offset has seconds"),
    (m.HoldsModels(None, {}), m.Order, "object missing required field items"),
    (m.Order([]), m.Approved | m.Rejected, "expected exactly one of"),
    ([m.Breaks()], Any, "at $[0]: an object of type tests.serialization.models.Breaks cannot be written as JSON"),
    ({"a": m.Breaks()}, dict[str, int], "at $.a: an object of type tests.serialization.models.Breaks cannot"),
    ([m.Proxy()], Any, "at $[0]: an object of type tests.serialization.models.Proxy cannot be written"),
    ({"a": m.Proxy()}, dict[str, int], "at $.a: an object of type tests.serialization.models.Proxy cannot"),
    (1j, Any, "a complex number cannot be stored"),
    (range(3), Any, "pass `list(…)` of it"),
    (deque([1]), Any, "pass `list(…)` of it"),
    (iter([1]), Any, "an iterator can be read only once"),
    (io.BytesIO(b"a"), Any, "an open file or connection cannot be stored"),
    (len, Any, "a function cannot be stored"),
    (m.Order, Any, "a class cannot be stored"),
    (ValueError("secret"), Any, "an exception is raised, not returned"),
    (threading.Lock(), Any, "an object of type _thread.lock cannot be written as JSON"),
    (msgspec.Raw(b"nonsense"), Any, "not valid JSON"),
    (m.nested(MAX_DEPTH + 1), Any, f"it is nested deeper than {MAX_DEPTH} levels"),
    (m.nested(1_000), Any, f"it is nested deeper than {MAX_DEPTH} levels"),
    (m.nested(100_000), Any, f"it is nested deeper than {MAX_DEPTH} levels"),
    (["[]" * 200, m.nested(MAX_DEPTH)], Any, f"it is nested deeper than {MAX_DEPTH} levels"),
]


@pytest.mark.parametrize(
    ("value", "declared", "message"),
    REFUSED,
    ids=lambda part: part if isinstance(part, str) and part.isascii() else type(part).__name__,
)
def test_refuses_what_would_not_come_back(value: object, declared: Any, message: str) -> None:
    assert message in refusal_of(value, declared)


def test_names_the_activity_the_path_and_the_way_out() -> None:
    with pytest.raises(SerializationError) as caught:
        dumps({"items": [1, 2, 3, {"price": float("nan")}]}, WHERE)

    expected = "result of activity 'charge' at $.items[3].price: NaN is not JSON; use None, a Decimal or a string"
    assert expected == str(caught.value)


def test_finds_a_cycle() -> None:
    value: dict[str, Any] = {"child": {}}
    value["child"]["parent"] = value

    assert refusal_of(value).startswith("at $.child.parent: the value contains itself")


def test_finds_a_cycle_of_declared_types() -> None:
    tree = m.Tree("a", [])
    tree.children.append(tree)

    assert refusal_of(tree, m.Tree).startswith("at $.children[0]: the value contains itself")


async def _returns_nothing() -> None: ...


def test_asks_for_a_forgotten_await() -> None:
    coroutine = _returns_nothing()

    message = refusal_of({"a": [coroutine]})

    coroutine.close()
    assert "at $.a[0]: a coroutine is not a value: was an `await` forgotten?" == message


def test_refuses_a_task() -> None:
    async def main() -> str:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        return refusal_of(future)

    assert "await it first" in asyncio.run(main())


def test_an_error_holds_no_payload_and_chains_none() -> None:
    with pytest.raises(SerializationError) as caught:
        loads(b'{"x":"top secret"}', dict[str, m.Colour], WHERE)

    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_a_long_key_is_cut_in_the_path() -> None:
    assert len(refusal_of({"k" * 1_000_000: float("nan")})) < 200


@pytest.mark.parametrize(("value", "error"), [(-1, ValueError), (101, RuntimeError)])
def test_a_check_of_the_users_own_is_chained(value: int, error: type[Exception]) -> None:
    with pytest.raises(SerializationError) as caught:
        loads(b'{"value":%d}' % value, m.Positive, WHERE)

    assert isinstance(caught.value.__cause__, error)
    assert str(value) not in str(caught.value)


UNREADABLE: list[tuple[bytes, Any, str]] = [
    (b'{"items":[{"price":"x"}]}', m.Order, "at $.items[0].price: expected float, got str (declared as"),
    (b'{"item":[]}', m.Order, "object missing required field items"),
    (b"[1]", m.Order, "expected object, got array"),
    (b"null", int, "expected int, got None"),
    (b"", Any, "not valid JSON"),
    (b"nonsense", Any, "not valid JSON"),
    (b"[1] 2", Any, "not valid JSON"),
    (b"NaN", Any, "not valid JSON"),
    (b'"\\ud800"', Any, "not valid JSON"),
    (b'"\xff"', Any, "not valid JSON"),
    (b"\xef\xbb\xbf1", Any, "not valid JSON"),
    (b"1e400", Any, "number out of range"),
    (b"1" * 5000, Any, "integer value out of range"),
    (b"[" * 100_000 + b"]" * 100_000, Any, "nested deeper than the interpreter can follow"),
    (b"[" * 100_000 + b"]" * 100_000, m.Approved | m.Rejected, "nested deeper than the interpreter can follow"),
    (b'{"outcome":1}', m.Approved | m.Rejected, "expected exactly one of"),
]


@pytest.mark.parametrize(
    ("raw", "declared", "message"),
    UNREADABLE,
    ids=lambda part: repr(part)[:40],
)
def test_refuses_to_read_another_shape(raw: bytes, declared: Any, message: str) -> None:
    with pytest.raises(SerializationError, match=re.escape(message)):
        loads(raw, declared, WHERE)


class Mixed(Enum):
    A = 1
    B = "b"


@dataclass
class WithInitVar:
    x: InitVar[int]


@dataclass
class Haunted:
    x: Ghost  # type: ignore[name-defined]  # noqa: F821


UNSUPPORTED: list[tuple[Any, str]] = [
    (Iterable[int], "collections.abc.Iterable cannot be read back from JSON"),
    (complex, "complex cannot be read back from JSON"),
    (deque[int], "collections.deque cannot be read back from JSON"),
    (dict[tuple[int, int], int], "The keys of a JSON object are text"),
    (dict[bool, int], "The keys of a JSON object are text"),
    (str | datetime, "Type unions may not contain more than one str-like type"),
    (list[int] | tuple[int, ...], "Type unions may not contain more than one array-like"),
    (Mixed, "Enums must contain either all str or all int values"),
    (WithInitVar, "Make it an ordinary field"),
    (Haunted, "name 'Ghost' is not defined"),
]


@pytest.mark.parametrize(
    ("declared", "message"),
    UNSUPPORTED,
    ids=repr,
)  # fmt: skip
def test_a_type_without_a_json_form_is_a_registration_error(declared: Any, message: str) -> None:
    with pytest.raises(RegistrationError, match=re.escape(message)) as caught:
        dumps(None, WHERE, declared)

    assert str(caught.value).startswith("result of activity 'charge', declared as")
