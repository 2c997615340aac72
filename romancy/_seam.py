"""Stands in for romancy.serialization until it is there."""

from __future__ import annotations

import builtins
import inspect
import traceback
from typing import Any, get_type_hints

import msgspec
from msgspec import Raw

from romancy import errors
from romancy.errors import ActivityError, SerializationError


class ErrorInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    type: str
    message: str = ""
    trace: str = ""


def describe_exception(error: BaseException) -> ErrorInfo:
    return ErrorInfo(type(error).__qualname__, str(error), "".join(traceback.format_exception(error)))


def rebuild_exception(info: ErrorInfo, **_: Any) -> Exception:
    found = getattr(builtins, info.type, None) or getattr(errors, info.type, None)
    if isinstance(found, type) and issubclass(found, Exception):
        try:
            return found(info.message)
        except TypeError:
            pass
    return ActivityError(info.message, error_type=info.type, trace=info.trace)


class Signature:
    def __init__(self, fn: Any, skip: int) -> None:
        self._fn = fn
        signature = inspect.signature(fn)
        self._params = list(signature.parameters.values())[skip:]
        self._signature = signature.replace(parameters=self._params)
        self._hints = get_type_hints(fn)

    @classmethod
    def of(cls, fn: Any, *, skip: int = 0) -> Signature:
        return cls(fn, skip)

    def encode_arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Raw:
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        try:
            if len(self._params) == 1:
                return Raw(msgspec.json.encode(bound.arguments[self._params[0].name]))
            return Raw(msgspec.json.encode(dict(bound.arguments)))
        except TypeError as error:
            raise SerializationError(str(error)) from error

    def decode_arguments(self, raw: Raw) -> dict[str, Any]:
        hints = {p.name: self._hints.get(p.name, Any) for p in self._params}
        try:
            if len(self._params) == 1:
                ((name, kind),) = hints.items()
                return {name: msgspec.json.decode(raw, type=kind)}
            fields = msgspec.json.decode(raw, type=dict[str, Raw])
            return {name: msgspec.json.decode(fields[name], type=kind) for name, kind in hints.items()}
        except (msgspec.MsgspecError, KeyError) as error:
            raise SerializationError(str(error)) from error

    def decode_parameter(self, name: str, raw: Raw) -> Any:
        return msgspec.json.decode(raw, type=self._hints.get(name, Any))

    def encode_result(self, value: Any) -> Raw:
        try:
            return Raw(msgspec.json.encode(value))
        except TypeError as error:
            raise SerializationError(str(error)) from error

    def decode_result(self, raw: Raw) -> Any:
        try:
            return msgspec.json.decode(raw, type=self._hints.get("return", Any))
        except msgspec.MsgspecError as error:
            raise SerializationError(str(error)) from error


def dumps(value: Any) -> Raw:
    return Raw(msgspec.json.encode(value))


def loads(raw: Raw, kind: Any = Any) -> Any:
    return msgspec.json.decode(raw, type=kind)
