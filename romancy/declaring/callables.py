"""Checks of the functions and options given to decorators, and the names of what they declare."""

from __future__ import annotations

import functools
import inspect
import sys
from types import MethodType
from typing import TYPE_CHECKING, Any, cast

from romancy.errors import RegistrationError, UsageError
from romancy.storage.limits import check_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from romancy.serialization import Signature

__all__ = [
    "check_context",
    "check_function",
    "declared_at",
    "is_async",
    "is_method",
    "label_of",
    "name_of",
    "options_of",
]


def is_async(fn: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(fn)


def is_method(fn: object) -> bool:
    """Whether it is a method that is bound to its object. A classmethod is bound to its class."""
    return type(fn) is MethodType


def declared_at(fn: object) -> str:
    """The file and line that declares this method, for errors. Empty for a function, which has a place of its own."""
    if not is_method(fn):
        return ""
    # No other way to find the caller names its line.
    frame = sys._getframe(1)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).partition(".")[0] == "romancy":
        frame = frame.f_back
    return f"{frame.f_code.co_filename}, line {frame.f_lineno}"


def name_of(fn: Callable[..., Any], name: str | None, decorator: str) -> str:
    """The given name, or the function's. Raises RegistrationError if it is empty or cannot be stored in a row.

    A method needs a given name: all objects of its class share the method's own.
    """
    if name is None and is_method(fn):
        raise RegistrationError(
            f"@{decorator} on {fn.__qualname__}: a method needs a name of yours, because all objects of its class "
            f"share its own: `{_example(fn, decorator)}`"
        )
    chosen = label_of(fn, fn.__name__ if name is None else name, decorator, "name")
    if chosen != chosen.strip():
        raise RegistrationError(f"@{decorator} on {fn.__qualname__}: {chosen!r} is not a name")
    return chosen


def label_of(fn: Callable[..., Any], label: str, decorator: str, what: str) -> str:
    """Return a label that searches use. Raises RegistrationError if no row can store it."""
    try:
        check_id(label, what)
    except UsageError as error:
        raise RegistrationError(f"@{decorator} on {fn.__qualname__}: {error}") from None
    return label


def check_context(signature: Signature, context: type) -> None:
    """Raise RegistrationError if the first parameter is declared as something other than the context."""
    name, kind = signature.leading[0], context.__name__
    if not signature.is_declared_as(name, context):
        raise RegistrationError(
            f"{signature.subject}: its first parameter is the {kind}, which Romancy supplies, and {name!r} is declared "
            f"as something else; put `ctx: {kind}` before it"
        )


def _instead(given: object, decorator: str) -> str:
    if isinstance(given, str):
        return f"; its options have names, as in @{decorator}(name={given!r})"
    if isinstance(given, functools.partial):
        return "; write a function that calls it, or a class whose object has what it needs, and give its method"
    kind = getattr(given, "kind", None)
    return "" if kind is None else f", and it is declared as {kind} already; use one decorator"


def options_of(kind: type) -> tuple[str, ...]:
    """The names of the options that a declaration takes beside its function."""
    parameters = inspect.signature(kind).parameters.values()
    return tuple(its.name for its in parameters if its.kind is its.KEYWORD_ONLY)


def _takes_itself(fn: Callable[..., Any]) -> bool:
    return fn.__code__.co_varnames[:1] in (("self",), ("cls",))


def _example(fn: Callable[..., Any], decorator: str) -> str:
    """How a method of an object is declared, with the names of this one."""
    method, owner = fn.__name__, fn.__qualname__.rpartition(".")[0].rpartition(".")[2].lower()
    return f'{method} = {decorator}({owner}.{method}, name="{owner}.{method}")'


def _without_object(fn: Callable[..., Any], decorator: str) -> str:
    if decorator == "workflow":
        return (
            "a method cannot be a workflow, because its object is not stored with the call. Declare a function outside "
            "of the class, with what it needs as parameters, or put @staticmethod above the decorator"
        )
    return (
        f"in the body of a class there is no object yet whose method the {decorator} could call. Once there is one, "
        f"declare its method: `{_example(fn, decorator)}`. For a function that needs no object, put @staticmethod "
        "above the decorator"
    )


def check_function(given: Callable[..., Any], decorator: str) -> None:
    """Raise RegistrationError unless it is a function with a name and one result, or such a method of an object."""
    kind = type(given).__name__
    if kind in ("staticmethod", "classmethod"):
        raise RegistrationError(f"@{decorator} goes below @{kind}, directly on the function")
    bound = decorator != "workflow" and is_method(given)
    fn: object = cast("Any", given).__func__ if bound else given
    if not inspect.isfunction(fn):
        raise RegistrationError(f"@{decorator} needs a function, not {kind}{_instead(given, decorator)}")
    where = f"@{decorator} on {fn.__qualname__}"
    if fn.__name__ == "<lambda>":
        raise RegistrationError(f"@{decorator} needs a function with a name of its own; a lambda has none")
    in_a_class = fn.__qualname__.rpartition(".")[0].rpartition(".")[2] not in ("", "<locals>")
    if not bound and in_a_class and _takes_itself(fn):
        raise RegistrationError(f"{where}: {_without_object(fn, decorator)}")
    if inspect.isasyncgenfunction(fn) or inspect.isgeneratorfunction(fn):
        raise RegistrationError(f"{where}: a generator has no single result; return a value instead of yielding")
