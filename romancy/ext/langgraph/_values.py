"""JSON of what nodes return, read back equal: messages, commands, and objects of the program's own classes.

An object is written with the name of its class and its fields. It is read by a class of a module that is imported
already: nothing is imported by a name from the log.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# LangGraph's packages are typed in part.

from __future__ import annotations

import base64
import dataclasses
import math
import sys
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, cast
from uuid import UUID

import msgspec
from langchain_core.messages import BaseMessage, messages_from_dict
from langgraph.types import Send
from pydantic import BaseModel

from romancy.errors import SerializationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["NotStoredError", "read", "written"]

_KIND: Final = "$"
"""The key of the name of a kind, in the JSON of what is not plain."""
_PLAIN: Final = (str, int, bool, type(None))
_TEXTS: Final[Mapping[type[Any], Callable[[Any], str]]] = {
    bytes: lambda raw: base64.b64encode(raw).decode(),
    date: date.isoformat,
    datetime: datetime.isoformat,
    time: time.isoformat,
    Decimal: str,
    UUID: str,
}
_FROM_TEXT: Final[Mapping[str, Callable[[str], Any]]] = {
    "bytes": base64.b64decode,
    "date": date.fromisoformat,
    "datetime": datetime.fromisoformat,
    "time": time.fromisoformat,
    "Decimal": Decimal,
    "UUID": UUID,
}
_MANY: Final[Mapping[str, Callable[[list[Any]], Any]]] = {"tuple": tuple, "set": set, "frozenset": frozenset}


class NotStoredError(Exception):
    """A value cannot be stored. The text says where it is and what it is."""


def written(value: Any, where: str = "result") -> Any:
    """The value as JSON. Raises NotStoredError for one that would not be read back equal."""
    kind: Any = type(value)
    if kind in _PLAIN:
        return value
    if kind is float:
        if not math.isfinite(value):
            raise NotStoredError(f"{where} is {value}, and JSON has no such number")
        return value
    if kind is list:
        return [written(one, f"{where}[{at}]") for at, one in enumerate(value)]
    if kind is dict or (issubclass(kind, dict) and kind.__module__.startswith("langchain_core.")):
        return _of_dict(value, where)
    if kind in _TEXTS:
        return {_KIND: kind.__name__, "of": _TEXTS[kind](value)}
    if kind is timedelta:
        return {_KIND: "timedelta", "of": [value.days, value.seconds, value.microseconds]}
    if kind in (tuple, set, frozenset):
        many = [written(one, f"{where}[{at}]") for at, one in enumerate(value)]
        return {_KIND: kind.__name__, "of": many if kind is tuple else sorted(many, key=msgspec.json.encode)}
    return _again(_of_object(value, where), value, where)


def read(stored: Any) -> Any:
    """The value of its JSON. Raises SerializationError if a class is not there."""
    if isinstance(stored, list):
        return [read(one) for one in stored]
    if not isinstance(stored, dict):
        return stored
    held = cast("dict[str, Any]", stored)
    kind = held.get(_KIND)
    if kind is None:
        return {name: read(one) for name, one in held.items()}
    return _read_as(kind, held)


def _of_dict(value: dict[Any, Any], where: str) -> Any:
    if _KIND not in value and all(type(name) is str for name in value):
        return {name: written(one, f"{where}.{name}") for name, one in value.items()}
    items = [[written(name, f"a key of {where}"), written(one, f"{where}[{name!r}]")] for name, one in value.items()]
    return {_KIND: "dict", "of": items}


def _of_object(value: Any, where: str) -> dict[str, Any]:
    kind: Any = type(value)
    if isinstance(value, BaseMessage):
        return {_KIND: "message", "type": value.type, "data": written(value.model_dump(), where)}
    if kind is Send:
        if getattr(value, "timeout", None) is not None:
            raise NotStoredError(f"{where} is a Send with a timeout; say StepOptions(timeout=…) for its node instead")
        return {_KIND: "Send", "node": value.node, "arg": written(value.arg, f"{where}.arg")}
    if isinstance(value, Enum):
        return {_KIND: "enum", "of": _name(kind, where), "name": value.name}
    if isinstance(value, BaseModel):
        held: dict[str, Any] = {**value.__dict__, **(value.__pydantic_extra__ or {})}
    elif dataclasses.is_dataclass(value):
        held = {one.name: getattr(value, one.name) for one in dataclasses.fields(value)}
    elif isinstance(value, tuple) and hasattr(kind, "_fields"):
        held = dict(zip(kind._fields, value, strict=True))
    else:
        raise NotStoredError(f"{where} is of {kind.__module__}.{kind.__qualname__}, which cannot be stored")
    fields = {name: written(one, f"{where}.{name}") for name, one in held.items()}
    return {_KIND: "object", "of": _name(kind, where), "fields": fields}


def _name(kind: type[Any], where: str) -> str:
    if _found(kind.__module__, kind.__qualname__) is not kind:
        raise NotStoredError(
            f"{where} is of {kind.__qualname__}, which {kind.__module__} does not have by this name; define it there"
        )
    return f"{kind.__module__}:{kind.__qualname__}"


def _again(stored: dict[str, Any], value: Any, where: str) -> dict[str, Any]:
    """The JSON, if it is read back equal."""
    try:
        back = read(stored)
        same = type(back) is type(value) and bool(back == value)
    except Exception as error:
        raise NotStoredError(f"{where} cannot be read back: {error}") from error
    if not same:
        raise NotStoredError(f"{where} would be read back as another {type(value).__qualname__}")
    return stored


def _read_as(kind: Any, held: dict[str, Any]) -> Any:
    if kind == "message":
        return messages_from_dict([{"type": held["type"], "data": read(held["data"])}])[0]
    if kind == "Send":
        return Send(held["node"], read(held["arg"]))
    if kind == "dict":
        return {read(name): read(one) for name, one in held["of"]}
    if kind == "timedelta":
        return timedelta(*held["of"])
    if kind in _FROM_TEXT:
        return _FROM_TEXT[kind](held["of"])
    if kind in _MANY:
        return _MANY[kind](read(held["of"]))
    if kind == "enum":
        return _class(held["of"])[held["name"]]
    if kind == "object":
        return _made(_class(held["of"]), {name: read(one) for name, one in held["fields"].items()})
    raise SerializationError(f"the log has a value of the kind {kind!r}, which this version of Romancy does not know")


def _made(kind: Any, fields: dict[str, Any]) -> Any:
    """An object with these fields. Nothing that its class does at the creation of one is done again."""
    if issubclass(kind, BaseModel):
        return kind.model_construct(**fields)
    if issubclass(kind, tuple):
        return kind(**fields)
    made = kind.__new__(kind)
    for name, value in fields.items():
        object.__setattr__(made, name, value)
    return made


def _class(name: str) -> Any:
    module, _, qualname = name.partition(":")
    kind: Any = _found(module, qualname)
    if not isinstance(kind, type) or not (issubclass(kind, (BaseModel, Enum, tuple)) or dataclasses.is_dataclass(kind)):
        raise SerializationError(
            f"the log has a value of {name}, and no module that is imported has this class: import it at the start of "
            "the worker, or give the class its former name"
        )
    return kind


def _found(module: str, qualname: str) -> object:
    found: object = sys.modules.get(module)
    for name in qualname.split("."):
        found = getattr(found, name, None)
    return found
