"""Registered classes and unions of dataclasses: they come back equal, wherever they are."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Generic, NamedTuple, Required, TypedDict, TypeVar, cast

import attrs
import msgspec
import pytest

from romancy import register_type
from romancy.errors import RegistrationError, SerializationError
from romancy.serialization import dumps, loads


class Money:
    def __init__(self, cents: int, currency: str) -> None:
        self.cents = cents
        self.currency = currency

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Money) and (self.cents, self.currency) == (other.cents, other.currency)

    def __hash__(self) -> int:
        return hash((self.cents, self.currency))


class Grid:
    """Has no `==`, as an array of numbers has none."""

    def __init__(self, rows: list[int]) -> None:
        self.rows = rows


def _write_money(money: Money) -> str:
    return f"{money.cents} {money.currency}"


def _read_money(text: str) -> Money:
    cents, currency = text.split()
    return Money(int(cents), currency)


def _same_grid(one: Grid, other: Grid) -> bool:
    return one.rows == other.rows


register_type(Money, encode=_write_money, decode=_read_money)
register_type(Fraction, encode=str, decode=Fraction)
register_type(Grid, encode=lambda grid: {"rows": grid.rows}, decode=lambda plain: Grid(plain["rows"]), equal=_same_grid)


@dataclass
class Circle:
    radius: int


@dataclass
class Sphere:
    radius: int


@dataclass
class Group:
    parts: list[Shape]
    price: Money | str | None = None


Shape = Circle | Sphere | Group


@dataclass
class Order:
    shape: Shape
    price: Money
    shares: dict[str, Fraction] = field(default_factory=dict[str, Fraction])


PRICE = Money(1250, "EUR")
VALUES: list[tuple[Any, Any, str]] = [
    (PRICE, Money, '"1250 EUR"'),
    ([PRICE], list[Money], '["1250 EUR"]'),
    ({PRICE: 1}, dict[Money, int], '{"1250 EUR":1}'),
    ({"a": Fraction(1, 3)}, dict[str, Fraction], '{"a":"1/3"}'),
    (None, Money | None, "null"),
    (PRICE, Money | str, '{"$type":"Money","value":"1250 EUR"}'),
    ("1250 EUR", str, '"1250 EUR"'),
    (Sphere(1), Circle | Sphere, '{"$type":"Sphere","radius":1}'),
    ([Circle(1), Sphere(1)], list[Circle | Sphere], '[{"$type":"Circle","radius":1},{"$type":"Sphere","radius":1}]'),
    (Order(Group([Circle(1), Group([])], "free"), PRICE, {"a": Fraction(1, 2)}), Order,
     ('{"shape":{"$type":"Group","parts":[{"$type":"Circle","radius":1},{"$type":"Group","parts":[],"price":null}],'
     '"price":"free"},"price":"1250 EUR","shares":{"a":"1/2"}}')),
]  # fmt: skip


@pytest.mark.parametrize(("value", "declared", "text"), VALUES)
def test_it_comes_back_equal(value: Any, declared: Any, text: str) -> None:
    raw = dumps(value, "value", declared)

    assert text == raw.decode()
    assert value == loads(raw, declared, "value")


def test_a_class_without_equality_is_compared_by_its_function() -> None:
    back = loads(dumps([Grid([1, 2])], "value", list[Grid]), list[Grid], "value")

    assert [1, 2] == back[0].rows


def test_without_a_declared_type_its_plain_form_is_stored() -> None:
    assert b'{"a":["1250 EUR"]}' == dumps({"a": [PRICE]}, "report")


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (
            b'{"shape":{"$type":"Ball","radius":1},"price":"1 EUR"}',
            r"\$\.shape: it was stored as Ball",
        ),
        (
            b'{"shape":{"radius":1},"price":"1 EUR"}',
            r'\$\.shape: expected an object with "\$type": "Circle"',
        ),
        (b'{"shape":{"$type":"Circle","radius":"x"},"price":"1 EUR"}', r"\$\.shape\.radius: expected int, got str"),
        (b'{"shape":{"$type":"Circle","radius":1},"price":"EUR"}', r"\$\.price: the decode= of .*Money refused it"),
    ],
)
def test_what_does_not_fit_is_named(raw: bytes, says: str) -> None:
    with pytest.raises(SerializationError, match=says):
        loads(raw, Order, "value")


def test_a_document_without_names_is_known_by_its_fields() -> None:
    raw = b'{"shape":{"parts":[{"parts":[]}]},"price":"1 EUR"}'

    assert Order(Group([Group([])]), Money(1, "EUR")) == loads(raw, Order, "value")


def test_another_class_is_refused() -> None:
    with pytest.raises(SerializationError, match=r"at \$\.price: str was given where .*Money is declared"):
        dumps(Order(Circle(1), "1 EUR", {}), "value", Order)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType] - the test


class Lossy(Money):
    pass


class Failing(Money):
    pass


def _fail(_money: object) -> Any:
    raise KeyError("gone")


def test_a_value_that_does_not_come_back_is_refused() -> None:
    register_type(Lossy, encode=lambda money: money.cents, decode=lambda plain: Lossy(plain, "EUR"))
    register_type(Failing, encode=_fail, decode=_fail)

    assert Lossy(1, "EUR") == loads(dumps(Lossy(1, "EUR"), "value", Lossy), Lossy, "value")
    with pytest.raises(SerializationError, match="Lossy does not come back equal to itself"):
        dumps(Lossy(1, "USD"), "value", Lossy)
    with pytest.raises(SerializationError, match=r"the encode= of .*Failing failed \(KeyError\)"):
        dumps(Failing(1, "USD"), "value", Failing)


async def _later(_money: object) -> str:
    return ""


class _Bare:
    pass


@pytest.mark.parametrize(
    ("cls", "functions", "says"),
    [
        (Circle, {}, "the class is a dataclass"),
        (str, {}, "the class is a builtin type"),
        ("Money", {}, "takes a class, not Money"),
        (_Bare, {}, "the class has no `==`"),
        (Money, {}, "registered already"),
        (Money, {"encode": 3}, "encode= takes a plain function, not an object of type int"),
        (Money, {"decode": _later}, "decode= takes a plain function, not an async function"),
    ],
)
def test_what_cannot_be_registered_is_named(cls: Any, functions: dict[str, Any], says: str) -> None:
    with pytest.raises(RegistrationError, match=says):
        register_type(cls, **{"encode": str, "decode": str, **functions})


def test_the_same_registration_may_be_made_again() -> None:
    register_type(Money, encode=_write_money, decode=_read_money)


T = TypeVar("T")


@dataclass
class Box(Generic[T]):
    item: T
    others: list[T] = field(default_factory=list[T])


@dataclass
class Shelf:
    box: Box[Circle | Sphere]


@pytest.mark.parametrize(
    ("value", "declared", "text"),
    [
        (Box(Sphere(1)), Box[Circle | Sphere], '{"item":{"$type":"Sphere","radius":1},"others":[]}'),
        (Box(1, [2]), Box[int], '{"item":1,"others":[2]}'),
        (
            Shelf(Box(Circle(1), [Sphere(2)])),
            Shelf,
            '{"box":{"item":{"$type":"Circle","radius":1},"others":[{"$type":"Sphere","radius":2}]}}',
        ),
        ([Box(Fraction(1, 3))], list[Box[Fraction]], '[{"item":"1/3","others":[]}]'),
    ],
)
def test_a_dataclass_with_arguments_comes_back_equal(value: Any, declared: Any, text: str) -> None:
    raw = dumps(value, "value", declared)

    assert text == raw.decode()
    assert value == loads(raw, declared, "value")


@attrs.define
class ByAttrs:
    shape: Circle | Sphere


class ByDict(TypedDict):
    shape: Required[list[Circle | Sphere]]


class ByTuple(NamedTuple):
    shape: Circle | Sphere | None


class ByStruct(msgspec.Struct):
    shape: Circle | Sphere


@dataclass
class Holder:
    held: ByStruct


@pytest.mark.parametrize("declared", [ByAttrs, ByDict, ByTuple, ByStruct, list[ByAttrs], dict[str, ByDict], Holder])
def test_a_union_in_another_class_is_refused_by_its_field(declared: Any) -> None:
    with pytest.raises(RegistrationError, match=r"The field 'shape' of .*By\w+ is or holds a union of classes, which"):
        dumps(None, "value", declared)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the statement is new in Python 3.12")
def test_what_a_type_statement_names_comes_back_equal() -> None:
    names: dict[str, Any] = {"Circle": Circle, "Sphere": Sphere, "dataclass": dataclass, "__name__": __name__}
    exec(  # noqa: S102 - syntax that Python 3.11 cannot read
        "type Round = Circle | Sphere\ntype Many[T] = list[T]\ntype Tree = Circle | Node\n"
        "@dataclass\nclass Node:\n    kids: list[Tree]\n",
        names,
    )
    node = names["Node"]
    values: list[tuple[Any, Any]] = [
        (Sphere(1), names["Round"]),
        ([Sphere(1)], names["Many"][Circle | Sphere]),
        ([1], names["Many"][int]),
        (node([Circle(1), node([])]), names["Tree"]),
        (Box(Sphere(1)), cast("Any", Box)[names["Round"]]),
    ]
    for value, declared in values:
        assert value == loads(dumps(value, "value", declared), declared, "value")
