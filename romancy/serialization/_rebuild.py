"""Exceptions from data: as their own type if the caller passes the class, otherwise as `ActivityError`.

Nothing is imported by a name from the database: only classes in the caller's mapping are used. An `__init__` written in
Python is not called again, so nothing it does happens twice. The instance is made with the recorded arguments and gets
the recorded attributes, each read by the type that the class declares for it.
"""

from __future__ import annotations

import ast
import itertools
import re
import typing
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from romancy.errors import ActivityError, Failure, RegistrationError, SerializationError, TerminalError
from romancy.serialization._error_info import (
    NO_DATA,
    ErrorData,
    ErrorInfo,
    builtin_base,
    exception_name,
    is_group,
    remember,
)
from romancy.serialization._plan import loads

if TYPE_CHECKING:
    from collections.abc import Mapping

E = TypeVar("E", bound=Exception)

_MAIN: Final = "__main__."
_TEXT: Final = r"""'(?:[^'\\\n]|{0})*'|"(?:[^"\\\n]|{0})*\"""".format(
    r"""\\(?:['"\\nrt]|x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})"""
)
_PLAIN: Final = rf"(?:b?(?:{_TEXT})|-?(?:0|[1-9]\d{{0,299}})|True|False|None)"
_KEY: Final = re.compile(rf"{_PLAIN}|\((?:{_PLAIN},|{_PLAIN}(?:, {_PLAIN})+)?\)")
"""What `repr` makes of the keys that are used most: texts, bytes, whole numbers, and tuples of them."""
_encode = msgspec.json.Encoder().encode


def rebuild_exception(
    info: ErrorInfo, allowed: Mapping[str, type[Exception]], *, activity_id: str = "", attempts: int = 1
) -> Exception:
    """The exception, with its causes and members.

    It is of its own class if `allowed` has that name, else of the nearest base class that `allowed` has, else an
    `ActivityError` with the type, message and trace. Exception groups stay exception groups. Never raises.
    """
    cls = _class_for(info, allowed)
    members = [rebuild_exception(member, allowed) for member in info.members]
    exc: Exception | None = None
    if members:
        exc = _group(info, cls, members)
    elif cls is not None:
        exc = _single(info, cls)
    if exc is None:
        exc = ActivityError(
            f"{info.type}: {info.message}" if info.message else info.type,
            activity_id=activity_id,
            error_type=info.type,
            trace=info.trace,
            attempts=attempts,
            chain=failures_in(info),
        )
    if info.cause is not None:
        object.__setattr__(exc, "__cause__", rebuild_exception(info.cause, allowed))  # its own __setattr__ may refuse
    remember(exc, info)
    return exc


def failures_in(info: ErrorInfo) -> tuple[Failure, ...]:
    """What code of the user's raised, then its cause, and so on to what was raised first."""
    chain: list[Failure] = []
    following: ErrorInfo | None = info.raised
    while following is not None:
        args = tuple(_read_data(following).args or ())
        members = tuple(map(failures_in, following.members))
        chain.append(Failure(following.type, following.message, args, following.trace, following.expected, members))
        following = following.cause
    return tuple(chain)


def _class_for(info: ErrorInfo, allowed: Mapping[str, type[Exception]]) -> type[Exception] | None:
    for name in (info.type, *info.bases):
        if name in allowed:
            return allowed[name]
        in_script = [cls for other, cls in allowed.items() if _same_but_for_main(name, other)]
        if len(in_script) == 1:
            return in_script[0]
    return None


def _same_but_for_main(one: str, other: str) -> bool:
    """Whether the names differ only by `__main__`, the module of a file that is run; on import it has another name."""
    return (one.startswith(_MAIN) and other.endswith(one.removeprefix("__main__"))) or (
        other.startswith(_MAIN) and one.endswith(other.removeprefix("__main__"))
    )


def _group(info: ErrorInfo, cls: type[Exception] | None, members: list[Exception]) -> Exception:
    if cls is not None and is_group(cls):
        try:
            return cls.__new__(cls, info.message, members)
        except Exception:  # noqa: BLE001, S110 (a __new__ of the user's; a plain group says the same)
            pass
    return ExceptionGroup(info.message, members)


def _single(info: ErrorInfo, cls: type[E]) -> E | None:
    data = _read_data(info)
    exc = None if data.args is None else _made(cls, _typed_args(cls, data.args))
    if data.args is None or (exc is not None and not data.attributes and _says_else(exc, info)):
        exc = _made(cls, (_argument(cls, info.message),))
    if exc is None:
        return None
    hints = _hints(cls)
    for name, value in data.attributes.items():
        try:
            object.__setattr__(exc, name, _typed(value, hints.get(name, Any)))
        except (AttributeError, TypeError):  # a property without a setter: computed, not data
            continue
    return exc


def _made(cls: type[E], args: tuple[Any, ...]) -> E | None:
    try:
        exc = cls.__new__(cls, *args)
        builtin_base(cls).__init__(exc, *args)
    except Exception:  # noqa: BLE001 (a __new__ of the user's, or one that takes other arguments)
        return None
    return exc


def _says_else(exc: Exception, info: ErrorInfo) -> bool:
    """Whether it is of a base class, whose text is made of the arguments in another way. Ours keep the arguments."""
    if isinstance(exc, TerminalError):
        return False
    try:
        return exception_name(type(exc)) != info.type and str(exc) != info.message
    except Exception:  # noqa: BLE001 (the user's __str__ may do anything)
        return False


def _argument(cls: type[Exception], message: str) -> Any:
    """The argument that this text shows. A KeyError shows its key as `repr` does, any other exception as it is."""
    if not issubclass(cls, KeyError) or cls.__str__ is not KeyError.__str__ or _KEY.fullmatch(message) is None:
        return message
    key = ast.literal_eval(message)
    return key if repr(key) == message else message


def _read_data(info: ErrorInfo) -> ErrorData:
    try:
        return msgspec.json.decode(info.data, type=ErrorData) if info.data != NO_DATA else ErrorData()
    except msgspec.DecodeError:
        return ErrorData()


def _typed_args(cls: type[Exception], args: list[Any]) -> tuple[Any, ...]:
    """The arguments, each read as the type that `__init__` declares for it if it matches, else unchanged."""
    hints, names = _hints(cls), itertools.chain(_positional_names(cls), itertools.repeat(""))
    return tuple(_typed(arg, hints.get(name, Any)) for arg, name in zip(args, names, strict=False))


def _positional_names(cls: type[Exception]) -> tuple[str, ...]:
    code = getattr(cls.__init__, "__code__", None)
    return code.co_varnames[1 : code.co_argcount] if code is not None else ()


def _hints(cls: type[Exception]) -> dict[str, Any]:
    """The declared types of the attributes, from the class's annotations or the parameters of the same names."""
    hints: dict[str, Any] = {}
    for declaring in (cls.__init__, cls):
        try:
            hints.update(typing.get_type_hints(declaring))
        except (NameError, TypeError, AttributeError):  # imported for type checkers only, or not a Python function
            continue
    return hints


def _typed(value: Any, declared: Any) -> Any:
    if declared is Any:
        return value
    try:
        return loads(_encode(value), declared, "exception data")
    except (RegistrationError, SerializationError):
        return value
