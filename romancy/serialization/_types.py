"""Determines, once for each declared type, what writing and reading its values needs."""

from __future__ import annotations

import types
from collections import Counter, OrderedDict, defaultdict, deque
from dataclasses import fields, is_dataclass
from functools import lru_cache
from typing import (
    TYPE_CHECKING,
    Any,
    Final,
    NamedTuple,
    Union,
    get_args,
    get_origin,
)

import msgspec
from msgspec import inspect

from romancy.serialization._anatomy import is_model
from romancy.serialization._hooks import Placeholder, decode_hook
from romancy.serialization._own import own_type
from romancy.serialization._unions import Preparation, UnsupportedTypeError, is_about_unions, prepared
from romancy.serialization._value_at_fault import type_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_REFUSED_KEYS: Final = (
    inspect.BoolType, inspect.NoneType, inspect.ListType, inspect.TupleType, inspect.VarTupleType,
    inspect.SetType, inspect.FrozenSetType, inspect.DictType, inspect.StructType, inspect.DataclassType,
    inspect.NamedTupleType, inspect.TypedDictType,
)  # fmt: skip


_INSTEAD: Final[dict[type, str]] = {
    deque: "Declare `list[…]`, and make a deque of it where it is used",
    Counter: "Declare `dict[…, int]`, and make a Counter of it where it is used",
    defaultdict: "Declare `dict[…, …]`, and make a defaultdict of it where it is used",
    OrderedDict: "Declare `dict[…, …]`: a dict keeps its order",
}
"""What to declare in the place of classes of the standard library that JSON does not bring back."""


class Traits(NamedTuple):
    """What to check, besides equality, before a value counts as unchanged."""

    loose: bool = False
    """Some part has no declared type and comes back as plain JSON."""
    sets: bool = False
    """There may be sets, whose order must not depend on the process's hash seed."""
    blind: bool = False
    """A class leaves a field out of its `==`, which therefore proves nothing."""
    tagged: bool = False
    """There are unions whose members are told apart by a tag in the JSON."""

    def plus(self, other: Traits) -> Traits:
        return Traits(*(one or another for one, another in zip(self, other, strict=True)))


def decoder_for(tp: Any) -> tuple[msgspec.json.Decoder[Any], Traits, Any]:
    """The decoder of a type, and the type as it is prepared for it.

    Raises UnsupportedTypeError, or NameError if a class names a type that cannot be found.
    """
    try:
        try:
            return _decoder_of(prepared(tp))
        except TypeError as error:
            if not is_about_unions(error):
                raise
            return _decoder_of(Preparation().of(tp))
    except UnsupportedTypeError:
        raise
    except TypeError as error:
        reason = str(error).split(" - type `", 1)[0]
        raise UnsupportedTypeError(f"{reason}.{_way_out(reason)}") from None


def _decoder_of(ready: Any) -> tuple[msgspec.json.Decoder[Any], Traits, Any]:
    traits = traits_of(ready)
    return msgspec.json.Decoder(ready, dec_hook=decode_hook), traits, ready


def _way_out(reason: str) -> str:
    if reason.startswith("Type unions"):
        return " Their JSON cannot be told apart: declare one of them, or make them msgspec.Structs with `tag=True`"
    if "Enum" in reason:
        return " Give all members values of one of the two types"
    if "InitVar" in reason:
        return " Make it an ordinary field"
    return " Use builtins, dataclasses, attrs, TypedDict, NamedTuple, Enum, msgspec.Struct or pydantic models"


def members_of(declared: Any) -> tuple[Any, ...]:
    """The members of a union, or the type itself."""
    is_union = get_origin(declared) in (Union, types.UnionType)
    return get_args(declared) if is_union else (declared,)


def may_be(declared: Any, kinds: tuple[type, ...]) -> bool:
    """Whether a value of this type can be of one of these classes. True if the type is not a class."""
    tp = get_origin(declared) or declared
    if not isinstance(tp, type) or tp is Any or tp is object or getattr(tp, "_is_protocol", False):
        return True
    return issubclass(tp, kinds)


def traits_of(tp: Any) -> Traits:
    """Look at every type that can occur in it. Raises UnsupportedTypeError for a type that cannot be read back."""
    found = Traits()
    seen: set[int] = set()
    placeholders: set[type] = set()
    waiting: list[Any] = [inspect.type_info(tp)]
    keep_alive: list[Any] = []
    while waiting:
        info = waiting.pop()
        if id(info) in seen:
            continue
        seen.add(id(info))
        keep_alive.append(info)
        if isinstance(info, inspect.CustomType) and issubclass(info.cls, Placeholder):
            if info.cls not in placeholders:
                placeholders.add(info.cls)
                found = found.plus(Traits(tagged=info.cls.tags(), blind=_is_blind(info.cls.record)))
                waiting.extend(map(inspect.type_info, info.cls.inside()))
            continue
        if isinstance(info, inspect.CustomType):
            found = found.plus(_traits_of_custom(info.cls))
            continue
        _check_keys(info)
        found = found.plus(
            Traits(
                loose=isinstance(info, inspect.AnyType),
                sets=isinstance(info, inspect.SetType | inspect.FrozenSetType),
                blind=_is_blind(getattr(info, "cls", None)),
            )
        )
        waiting.extend(_inner_types(info))
    return found


def _inner_types(info: Any) -> Iterator[Any]:
    for name in ("type", "item_type", "key_type", "value_type"):
        if isinstance(inner := getattr(info, name, None), inspect.Type):
            yield inner
    yield from getattr(info, "item_types", ())
    yield from getattr(info, "types", ())
    for field in getattr(info, "fields", ()):
        yield field.type


def _check_keys(info: object) -> None:
    if isinstance(info, inspect.DictType) and isinstance(info.key_type, _REFUSED_KEYS):
        raise UnsupportedTypeError(
            "The keys of a JSON object are text: declare str, int or another type with one text form, "
            "or a list of pairs"
        )


def _is_blind(cls: Any) -> bool:
    if is_dataclass(cls):
        return any(not field.compare for field in fields(cls))
    return any(not attribute.eq for attribute in getattr(cls, "__attrs_attrs__", ()))


def _traits_of_custom(cls: Any) -> Traits:
    if cls is object:
        return Traits(loose=True)
    if own_type(cls) is not None:
        return Traits()
    if is_model(cls):
        _complete(cls)
        return traits_of_model(cls)
    if hasattr(cls, "__fspath__"):
        raise UnsupportedTypeError(
            f"{type_name(cls)} cannot be read back from JSON. Declare `str`, pass `str(path)`, and make a Path of it "
            f"where it is used; or register it before: `romancy.register_type({cls.__name__}, encode=str, "
            f"decode={cls.__name__})`"
        )
    for kind, advice in _INSTEAD.items():
        if issubclass(cls, kind):
            raise UnsupportedTypeError(f"{type_name(cls)} cannot be read back from JSON. {advice}")
    raise UnsupportedTypeError(
        f"{type_name(cls)} cannot be read back from JSON. "
        "Use builtins (list for any iterable), dataclasses, attrs, TypedDict, NamedTuple, Enum, msgspec.Struct "
        f"or pydantic models, or register it before: `romancy.register_type({cls.__name__}, encode=…, decode=…)`"
    )


def _complete(model: Any) -> None:
    """Complete a model that names types which were defined after it. Raises NameError if some are still missing."""
    if not getattr(model, "__pydantic_complete__", True) and not model.model_rebuild(raise_errors=False):
        raise NameError(f"not all types that {type_name(model)} names are defined")


def _read_core_schema(model: Any) -> Traits:
    """The traits of a model, from pydantic's schema: nested dicts in which every type has its name."""
    schema = repr(model.__pydantic_core_schema__)
    loose = "'type': 'any'" in schema
    return Traits(loose=loose, sets=loose or "'type': 'set'" in schema or "'type': 'frozenset'" in schema)


traits_of_model: Final[Callable[[Any], Traits]] = lru_cache(maxsize=1024)(_read_core_schema)
