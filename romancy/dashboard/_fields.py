"""Inputs of a form for a declared type: one for each member of a model, or one for the whole.

A type without an input of its own is entered as JSON. Reading a form gives the JSON of the whole; the caller checks
that it fits the type.
"""

from __future__ import annotations

import dataclasses
import enum
import types
import typing
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, get_args, get_origin

import msgspec

from romancy.dashboard._refused import bad_request

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from romancy.dashboard._guard import Form

__all__ = ["Field", "field_for", "json_of", "members_of", "object_of"]

_NUMBERS: Final = (int, float)


class Field(NamedTuple):
    """An input of the form."""

    name: str
    kind: Literal["text", "number", "choice", "json"]
    type: str
    """The value as a person writes it."""
    required: bool
    choices: tuple[str, ...] = ()


class _Member(NamedTuple):
    name: str
    declared: Any
    required: bool


def members_of(model: Any) -> list[Field] | None:
    """An input for each member of a model; None for a type that is no model, or that no form of inputs can write."""
    try:
        found = _members(model)
    except Exception:  # noqa: BLE001 - annotations of the user's may name what is not there
        return None
    if not found:
        return None
    return [field_for(member.name, member.declared, required=member.required) for member in found]


def _members(model: Any) -> list[_Member] | None:
    if isinstance(model, type) and issubclass(model, msgspec.Struct):
        return _of_struct(model)
    return _of_class(model) if isinstance(model, type) else None


def _of_struct(model: type[msgspec.Struct]) -> list[_Member] | None:
    config = model.__struct_config__
    if config.tag is not None or config.array_like:
        return None
    return [_Member(one.encode_name, one.type, one.required) for one in msgspec.structs.fields(model)]


def _of_class(model: Any) -> list[_Member] | None:
    hints: Mapping[str, Any] = typing.get_type_hints(model)
    if dataclasses.is_dataclass(model):
        return [_Member(one.name, hints[one.name], _is_missing(one)) for one in dataclasses.fields(model) if one.init]
    if typing.is_typeddict(model):
        return [_Member(name, declared, name in model.__required_keys__) for name, declared in hints.items()]
    if hasattr(model, "model_fields") and hasattr(model, "model_validate_json"):  # pydantic
        fields: dict[str, Any] = model.model_fields
        return [_Member(_alias_of(name, one), hints[name], one.is_required()) for name, one in fields.items()]
    return None


def _alias_of(name: str, one: Any) -> str:
    return one.validation_alias if isinstance(one.validation_alias, str) else name


def _is_missing(one: dataclasses.Field[Any]) -> bool:
    return one.default is dataclasses.MISSING and one.default_factory is dataclasses.MISSING


def object_of(fields: Iterable[Field], form: Form) -> bytes:
    """The JSON object of these inputs, without omitted ones."""
    given = [(field.name, value) for field in fields if (value := json_of(field, form)) is not None]
    return b"{" + b",".join(msgspec.json.encode(name) + b":" + value for name, value in given) + b"}"


def json_of(field: Field, form: Form) -> bytes | None:
    """The value of an input as JSON. None: omitted. Raises RefusedError for an unreadable value."""
    given: Sequence[str] = form.get(f"in-{field.name}", [])
    if len(given) > 1:
        raise bad_request(f"{field.name} is given twice.")
    text = given[0] if given else ""
    if field.kind == "text":
        return None if not text and not field.required else msgspec.json.encode(text)
    if not text.strip():
        if field.required:
            raise bad_request(f"{field.name} is missing.")
        return None
    if field.kind == "choice" and text not in field.choices:
        raise bad_request(f"{field.name} is none of its choices.")
    try:
        msgspec.json.decode(text)
        return text.encode()
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError) as error:
        raise bad_request(f"{field.name} is no JSON ({error}).") from None


def field_for(name: str, declared: Any, *, required: bool) -> Field:
    """The input for a type. A type without an input of its own is entered as JSON."""
    shown = declared.__name__ if isinstance(declared, type) and not get_args(declared) else str(declared)
    shown = shown.replace("typing.", "")
    plain = declared
    options = [each for each in get_args(declared) if each is not type(None)]
    if get_origin(declared) in (typing.Union, types.UnionType) and len(options) == 1 and not required:
        plain = options[0]
    if plain is str:
        return Field(name, "text", shown, required)
    if plain is bool:
        return Field(name, "choice", shown, required, ("true", "false"))
    if plain in _NUMBERS:
        return Field(name, "number", shown, required)
    if get_origin(plain) is Literal:
        return Field(name, "choice", shown, required, tuple(_as_json(value) for value in get_args(plain)))
    if isinstance(plain, type) and issubclass(plain, enum.Enum):
        return Field(name, "choice", shown, required, tuple(_as_json(one.value) for one in plain))
    return Field(name, "json", shown, required)


def _as_json(value: object) -> str:
    return msgspec.json.encode(value).decode()
