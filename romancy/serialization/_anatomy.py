"""Lists the children of a value as JSON sees it, with the names under which they are written.

Only the slow paths use this module: locating a culprit, comparing what would come back, sorting sets. A value that is
written without an error is never walked. Nothing here calls `repr` or `str` of a user's object.
"""

from __future__ import annotations

import sys
from dataclasses import fields as dataclass_fields
from dataclasses import is_dataclass
from enum import Enum, auto
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from romancy.serialization._own import hear_types, own_type_of
from romancy.serialization._value_at_fault import ELEMENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pydantic import BaseModel

    from romancy.serialization._value_at_fault import Segment


class Kind(Enum):
    """How msgspec and the hooks write a type."""

    LEAF = auto()
    MAPPING = auto()
    ARRAY = auto()
    SET = auto()
    STRUCT = auto()
    DATACLASS = auto()
    ATTRS = auto()
    MODEL = auto()
    OWN = auto()
    """A registered class."""

    @property
    def is_record(self) -> bool:
        """Whether the value has named fields that its class declares."""
        return self in (Kind.STRUCT, Kind.DATACLASS, Kind.ATTRS, Kind.MODEL)


_KINDS: Final[tuple[tuple[type | tuple[type, ...], Kind], ...]] = (
    (Enum, Kind.LEAF),
    (msgspec.Struct, Kind.STRUCT),
    (dict, Kind.MAPPING),
    ((list, tuple), Kind.ARRAY),
    ((set, frozenset), Kind.SET),
)


def _find_kind(tp: type) -> Kind:
    if own_type_of(tp) is not None:
        return Kind.OWN
    for base, kind in _KINDS:
        if issubclass(tp, base):
            return kind
    if is_model(tp):
        return Kind.MODEL
    if hasattr(tp, "__attrs_attrs__"):
        return Kind.ATTRS
    return Kind.DATACLASS if is_dataclass(tp) else Kind.LEAF


_cached_kind = lru_cache(maxsize=1024)(_find_kind)
hear_types(_cached_kind.cache_clear)
kind_of_type: Final[Callable[[type], Kind]] = _cached_kind


def kind_of(value: object) -> Kind:
    return kind_of_type(type(value))


def is_model(tp: type) -> bool:
    """Whether the class is a pydantic model. Looks for pydantic among the loaded modules and never imports it."""
    pydantic = sys.modules.get("pydantic")
    base = getattr(pydantic, "BaseModel", None)
    return isinstance(base, type) and issubclass(tp, base)


def json_children(value: object) -> Iterator[tuple[Segment, Any]]:
    """Each child with its JSON name. A leaf has none."""
    children = _CHILDREN.get(kind_of(value))
    return iter(()) if children is None else children(value)


def _array_children(value: list[Any]) -> Iterator[tuple[Segment, Any]]:
    yield from enumerate(value)


def _set_children(value: Any) -> Iterator[tuple[Segment, Any]]:
    for element in value:
        yield ELEMENT, element


def _attrs_children(value: Any) -> Iterator[tuple[Segment, Any]]:
    for name, child in fields_held(value):
        if not name.startswith("_"):
            yield name, child


def _struct_children(value: msgspec.Struct) -> Iterator[tuple[Segment, Any]]:
    config = value.__struct_config__
    for position, (name, encoded) in enumerate(
        zip(value.__struct_fields__, value.__struct_encode_fields__, strict=True)
    ):
        yield position if config.array_like else encoded, getattr(value, name)


def _model_children(value: BaseModel) -> Iterator[tuple[Segment, Any]]:
    by_alias = writes_aliases(type(value))
    for name, field in type(value).model_fields.items():
        alias = field.serialization_alias or field.alias
        yield (alias if by_alias and alias else name), getattr(value, name, None)
    yield from (value.model_extra or {}).items()


def writes_aliases(model: type[BaseModel]) -> bool:
    """Whether a model is written by aliases: it is written under the names that its own validation accepts."""
    config: Mapping[str, Any] = model.model_config
    return not (config.get("populate_by_name") or config.get("validate_by_name"))


def fields_held(value: object) -> Iterator[tuple[str, Any]]:
    """Every declared field of a record with the object's value, also fields that are not written."""
    for name in _field_names(type(value)):
        if hasattr(value, name):
            yield name, getattr(value, name)
    if kind_of(value) is Kind.MODEL:
        yield from (cast("BaseModel", value).model_extra or {}).items()


def _list_fields(tp: type) -> tuple[str, ...]:
    kind = kind_of_type(tp)
    if kind is Kind.STRUCT:
        return cast("type[msgspec.Struct]", tp).__struct_fields__
    if kind is Kind.MODEL:
        return tuple(cast("type[BaseModel]", tp).model_fields)
    if kind is Kind.ATTRS:
        return tuple(attribute.name for attribute in cast("Any", tp).__attrs_attrs__)
    return tuple(field.name for field in dataclass_fields(cast("Any", tp)))


_field_names: Final[Callable[[type], tuple[str, ...]]] = lru_cache(maxsize=1024)(_list_fields)

_CHILDREN: Final[dict[Kind, Callable[[Any], Iterator[tuple[Segment, Any]]]]] = {
    Kind.MAPPING: lambda value: iter(value.items()),
    Kind.ARRAY: _array_children,
    Kind.SET: _set_children,
    Kind.STRUCT: _struct_children,
    Kind.DATACLASS: fields_held,
    Kind.ATTRS: _attrs_children,
    Kind.MODEL: _model_children,
}


def without_root(value: object) -> object:
    """The value that a pydantic root model stands for. Any other value unchanged."""
    while kind_of(value) is Kind.MODEL and getattr(value, "__pydantic_root_model__", False):
        value = cast("Any", value).root
    return value
