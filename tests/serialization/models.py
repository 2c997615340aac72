"""The types that the tests of this folder write and read."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Generic, NamedTuple, NotRequired, TypedDict, TypeVar
from uuid import UUID

import attrs
import msgspec
import pydantic

T = TypeVar("T")


class Colour(enum.Enum):
    RED = "r"
    GREEN = "g"


class Size(enum.IntEnum):
    SMALL = 1
    LARGE = 2


class Level(enum.StrEnum):
    LOW = "low"
    HIGH = "high"


class Access(enum.Flag):
    READ = 1
    WRITE = 2


@dataclass
class Item:
    price: float
    count: int = 0


@dataclass
class SpecialItem(Item):
    discount: float = 0.0


@dataclass
class Order:
    items: list[Item]
    note: str | None = None


@dataclass
class Tree:
    name: str
    children: list[Tree]


@dataclass
class Everything:
    text: str
    number: int
    ratio: float
    flag: bool
    nothing: None
    raw: bytes
    moment: datetime
    day: date
    clock: time
    delay: timedelta
    key: UUID
    amount: Decimal
    colour: Colour
    size: Size
    names: set[str]
    marks: frozenset[int]
    pair: tuple[int, str]
    many: tuple[float, ...]
    by_number: dict[int, str]
    maybe: int | str | None
    tree: Tree | None
    plain: Any


@dataclass(frozen=True)
class Point:
    x: int
    y: int


@dataclass
class Page(Generic[T]):
    items: list[T]
    more: bool = False


@dataclass
class Positive:
    value: int

    def __post_init__(self) -> None:
        if self.value < 0:
            raise ValueError(f"not positive: {self.value}")
        if self.value > 100:
            raise RuntimeError("far too large")


@dataclass
class Unequal:
    """Its instances are equal only if `seen` is left out."""

    name: str
    seen: float | None = field(default=None, compare=False)


@dataclass(eq=False)
class ByIdentity:
    value: int
    plain: Any = None


@attrs.define
class Crate:
    weight: Decimal
    labels: set[str] = attrs.field(factory=set[str])
    _secret: int = 0


class Address(TypedDict):
    street: str
    zip: NotRequired[str]


class Place(NamedTuple):
    latitude: float
    longitude: float = 0.0


class Renamed(msgspec.Struct, rename="camel", omit_defaults=True):
    first_name: str
    last_name: str = ""
    score: float | None = None


class Card(msgspec.Struct, tag=True):
    number: str


class Cash(msgspec.Struct, tag=True):
    amount: Decimal


class Packed(msgspec.Struct, array_like=True):
    value: Any
    tags: set[str]


@dataclass
class Approved:
    by: str


@dataclass
class Rejected:
    reason: str
    code: int = 0


@dataclass
class Short:
    x: int


@dataclass
class Long:
    x: int
    y: int = 0


@dataclass
class Labelled:
    x: int
    labels: set[str]


@dataclass
class HoldsUnion:
    outcome: Approved | Rejected


class Model(pydantic.BaseModel):
    name: str
    at: datetime | None = None
    tags: set[str] = set()
    ratio: float | None = None
    alias: int = pydantic.Field(default=1, alias="Alias")


class StrictModel(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True, extra="allow")

    day: date


class ByName(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(populate_by_name=True)

    inner: object = pydantic.Field(alias="Inner")


class Hidden(pydantic.BaseModel):
    password: pydantic.SecretStr


class Site(pydantic.BaseModel):
    url: pydantic.HttpUrl
    words: frozenset[str]


class Names(pydantic.RootModel[set[str]]):
    pass


@dataclass
class HoldsModels:
    first: Model | None
    others: dict[str, Model]


class Proxy:
    """Represents a missing object, as proxies of request-bound objects do."""

    @property
    def __class__(self) -> type:
        raise RuntimeError("outside of a request")

    @__class__.setter
    def __class__(self, value: type) -> None: ...


class Breaks:
    """Fails whenever it is shown."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    __str__ = __repr__

    def __reduce__(self) -> str:
        raise RuntimeError("no pickle")


def nested(depth: int) -> list[Any]:
    """Return lists within each other, so many levels deep."""
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


def label(part: object) -> str:
    """Return an id for a parameter that is the same in every process: without addresses or the order of a set."""
    text = repr(part)
    return type(part).__name__ if " at 0x" in text or "{" in text or "set(" in text else text
