"""Hooks for types that msgspec does not know: registered classes, pydantic models, placeholders, subclasses of scalars.

pydantic is not a dependency and is never imported here. A model or a model's class can reach these hooks only in a
process that has imported pydantic.
"""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeAlias, cast

import msgspec

from romancy.serialization._anatomy import Kind, is_model, kind_of, writes_aliases
from romancy.serialization._order import holds_sets, with_sets_in_order
from romancy.serialization._own import own_type, own_type_of
from romancy.serialization._value_at_fault import type_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pydantic import BaseModel, ValidationError

    from romancy.serialization._own import OwnType

_MOST_FINDINGS: Final = 5


class MisfitError(ValueError):
    """A document does not match the type. The text holds no part of the document."""

    def __init__(self, text: str, findings: Sequence[tuple[Sequence[str | int], str]] = ()) -> None:
        super().__init__(text)
        self.findings = findings
        """The errors inside it, each with its path from here."""


class _AcceptsAnyInstance(type):
    """Accepts every instance: msgspec checks for an instance of the hook's class, but members have other ones."""

    def __instancecheck__(cls, instance: object) -> bool:
        return True


class Placeholder(metaclass=_AcceptsAnyInstance):
    """Stands for a type that msgspec does not read by itself.

    Each use is a subclass, because msgspec passes the hook a class.
    """

    record: ClassVar[type | None] = None
    """The class for which it stands, if it is one."""

    @classmethod
    def read(cls, plain: object) -> object:
        """The value of a document."""
        raise NotImplementedError

    @classmethod
    def tagged(cls, value: object, plain: Any) -> Any:
        """The document of a value, with the tags that tell members of unions apart."""
        raise NotImplementedError

    @classmethod
    def tags(cls) -> bool:
        """Whether documents may have tags."""
        raise NotImplementedError

    @classmethod
    def inside(cls) -> Iterator[Any]:
        """The types that occur in it."""
        raise NotImplementedError


def _plain_datetime(value: datetime) -> datetime:
    day, clock = _plain_date(value), value.timetz()
    return datetime.combine(day, _plain_time(clock))


def _plain_date(value: date) -> date:
    return date(value.year, value.month, value.day)


def _plain_time(value: time) -> time:
    return time(value.hour, value.minute, value.second, value.microsecond, value.tzinfo, fold=value.fold)


def _plain_timedelta(value: timedelta) -> timedelta:
    return timedelta(value.days, value.seconds, value.microseconds)


def _plain_bytes(value: bytearray) -> bytes:
    return memoryview(value).tobytes()


_Scalars: TypeAlias = "tuple[tuple[type[Any], Callable[[Any], object]], ...]"

_PLAIN_SCALARS: Final[_Scalars] = cast(
    "_Scalars",
    (
        (str, str.__str__),
        (int, int.__int__),
        (float, float.__float__),
        (bytes, bytes.__bytes__),
        (bytearray, _plain_bytes),
        (datetime, _plain_datetime),
        (date, _plain_date),
        (time, _plain_time),
        (timedelta, _plain_timedelta),
        (Decimal, Decimal),
    ),
)
"""Subclasses of scalars (a markup string, a NumPy float, a frozen clock's datetime) are written as their base type,
without calling the subclass's own conversion. Comparing with what is read back finds a loss.
"""


def encode_hook(value: object) -> object:
    """Turn a value that msgspec does not know into one that it knows."""
    kind = kind_of(value)
    if kind is Kind.OWN:
        return dump_own(value)
    if kind is Kind.MODEL:
        return dump_model(cast("BaseModel", value))
    for base, as_base in _PLAIN_SCALARS:
        if isinstance(value, base) and not isinstance(value, bool):  # a bool comes here only as a key
            return as_base(value)
    raise TypeError(f"an object of type {type_name(type(value))} cannot be written as JSON")


def dump_own(value: object) -> object:
    """What the `encode` of a registered class makes of a value. The order of its sets is the same in every process."""
    own = cast("OwnType", own_type_of(type(value)))
    plain = own.encode(value)
    if own_type_of(type(plain)) is own:
        raise TypeError(f"encode= returned an object of type {type_name(own.cls)} again")
    return msgspec.Raw(with_sets_in_order(plain, encode(plain))) if holds_sets(plain) else plain


def dump_model(model: BaseModel) -> object:
    # Warnings would show values. Reading the model back finds a field of the wrong type.
    return model.model_dump(mode="json", by_alias=writes_aliases(type(model)), round_trip=True, warnings=False)


def decode_hook(tp: type[Any], plain: object) -> object:
    """Turn plain JSON into a type that msgspec does not know. A ValueError becomes an error with the path."""
    if tp is object:
        return plain
    if issubclass(tp, Placeholder):
        return tp.read(plain)
    if (own := own_type(tp)) is not None:
        return _load_own(own, plain)
    if is_model(tp):
        return _load_model(cast("type[BaseModel]", tp), plain)
    raise TypeError(f"{type_name(tp)} cannot be read back from JSON")


def _load_own(own: OwnType, plain: object) -> object:
    try:
        return own.decode(plain)
    except Exception as error:  # a function of the user's
        raise MisfitError(f"the decode= of {type_name(own.cls)} refused it ({type_name(type(error))})") from error


def _load_model(model: type[BaseModel], plain: object) -> object:
    # As JSON, not as Python objects: a strict model accepts a date as text only from JSON.
    try:
        return model.model_validate_json(encode(plain))
    except ValueError as error:
        raise MisfitError("refused by pydantic", _what_pydantic_says(error)) from None


def _what_pydantic_says(error: ValueError) -> Sequence[tuple[Sequence[str | int], str]]:
    """Pydantic's first findings, without values, which must not appear in an error."""
    try:
        findings = cast("ValidationError", error).errors(include_input=False, include_url=False, include_context=False)
    except AttributeError:
        return ()
    return [(finding["loc"], finding["msg"]) for finding in findings[:_MOST_FINDINGS]]


encoder = msgspec.json.Encoder(enc_hook=encode_hook)
encode = encoder.encode
