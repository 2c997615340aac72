"""Classes of users and libraries, with the two functions that turn their values into plain JSON and back.

There is one form for each class in a process, as there is one class. Declarations are read where they are made, also
those of events, channels and requests, which know no app; and the process of an activity imports modules, not apps.
"""

from __future__ import annotations

import inspect
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar, cast
from uuid import UUID

import msgspec

from romancy.errors import RegistrationError
from romancy.serialization._value_at_fault import type_name

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_BUILTIN: Final = (
    object, str, int, float, bool, type(None), bytes, bytearray, memoryview, datetime, date, time, timedelta, Decimal,
    UUID,
)  # fmt: skip
_WRITTEN_AS_THEIR_BASE: Final = (Enum, msgspec.Struct, dict, list, tuple, set, frozenset, UUID)


class OwnType(NamedTuple):
    """A registered class."""

    cls: type
    encode: Callable[[Any], object]
    decode: Callable[[Any], object]
    equal: Callable[[Any, Any], object] | None


_types: Final[dict[type, OwnType]] = {}
_ears: Final[list[Callable[[], None]]] = []


def register_type(
    cls: type[T],
    /,
    *,
    encode: Callable[[T], object],
    decode: Callable[[Any], T],
    equal: Callable[[T, T], object] | None = None,
) -> None:
    """Make values of a class storable wherever a value is stored: inputs, results, events, reports, channels.

    `encode` makes plain JSON of a value, or anything else that can be stored. `decode` gets the plain JSON: text for a
    datetime or a Decimal, a list for a tuple. Both give the same for the same value in every process. `equal` tells
    whether two values are the same, for a class whose `==` does not. Values of subclasses are written by `encode` too.

    Call it in the module that declares or imports the class, before the first declaration that names it. Each value is
    proved to come back equal when it is written. Raises RegistrationError for a class that is stored without it, that
    is registered already in another way, or that has no `==`.
    """
    _check_class(cls)
    functions: dict[str, Any] = {"encode": encode, "decode": decode, "equal": equal or bool}
    for name, given in functions.items():
        if not callable(given) or inspect.iscoroutinefunction(given):
            what = (
                "an async function"
                if callable(given)
                else f"an object of type {type_name(type(cast('object', given)))}"
            )
            raise RegistrationError(f"{_call(cls)}: {name}= takes a plain function, not {what}")
    if equal is None and cls.__eq__ is object.__eq__:
        raise RegistrationError(
            f"{_call(cls)}: the class has no `==`, so nothing shows that a value comes back equal. Give it `__eq__`, "
            "or pass equal=, a function that compares two values"
        )
    own = OwnType(cls, encode, decode, equal)
    known = _types.get(cls)
    if known is not None and not _is_same(known, own):
        raise RegistrationError(f"{_call(cls)}: the class is registered already, with other functions")
    _types[cls] = own
    for ear in _ears:
        ear()


def hear_types(ear: Callable[[], None]) -> None:
    """Call this function after each registration."""
    _ears.append(ear)


def own_type_of(cls: type) -> OwnType | None:
    """The registered class that writes values of this class: itself, or the nearest base class."""
    if not _types:
        return None
    return next((_types[base] for base in cls.__mro__ if base in _types), None)


def own_type(declared: type) -> OwnType | None:
    """The registered class that is declared."""
    return _types.get(declared)


def _call(cls: type) -> str:
    return f"register_type({type_name(cls)}, …)"


def _check_class(cls: object) -> None:
    if not isinstance(cls, type) or cls is object:
        raise RegistrationError(f"register_type() takes a class, not {type_name(cls)}")
    kind = _form_of(cls)
    if kind is not None:
        raise RegistrationError(
            f"{_call(cls)}: the class is {kind}, and is stored as such without a registration. If one of its fields "
            "cannot be stored, register the class of that field"
        )


def _form_of(cls: type) -> str | None:
    """What the class is, if it is always written as that."""
    if cls in _BUILTIN:
        return "a builtin type"
    if hasattr(cls, "__dataclass_fields__"):
        return "a dataclass"
    if hasattr(cls, "__attrs_attrs__"):
        return "an attrs class"
    if hasattr(cls, "__pydantic_core_schema__"):
        return "a pydantic model"
    base = next((base for base in _WRITTEN_AS_THEIR_BASE if issubclass(cls, base)), None)
    return None if base is None else f"a subclass of {type_name(base)}"


def _is_same(one: OwnType, other: OwnType) -> bool:
    """Whether both are of the same source: a module that is run may be imported once more under its name."""
    return all(
        a == b or (hasattr(a, "__code__") and getattr(a, "__code__", None) == getattr(b, "__code__", None))
        for a, b in zip(one, other, strict=True)
    )
