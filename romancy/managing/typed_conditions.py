"""Reads conditions as people type them: `amount>=100`, `customer.city=Paris`, `note^=urgent`. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from romancy import query
from romancy.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["OPERATORS", "read_conditions", "read_headers"]

OPERATORS: Final[dict[str, Callable[[Any], Any]]] = {
    "=": lambda value: value,
    "!=": query.ne,
    ">": query.gt,
    ">=": query.gte,
    "<": query.lt,
    "<=": query.lte,
    "^=": query.startswith,
    "*=": query.contains,
}
_MEANT: Final = {"==": "=", "<>": "!=", "=>": ">=", "=<": "<=", "!": "!="}
_FORM: Final = re.compile(r"(?P<path>[^=!<>^*]+)(?P<operator>[=!<>^*]+)(?P<value>.*)", re.DOTALL)
_TEXTUAL: Final = ("^=", "*=")


def read_conditions(conditions: Iterable[str]) -> dict[str, Any]:
    """The filter of all conditions, each `PATH OPERATOR VALUE`. A value that is not JSON is taken as text.

    Raises QueryError with the condition and its fault.
    """
    where: dict[str, Any] = {}
    for condition in conditions:
        form = _FORM.fullmatch(condition)
        operator = form["operator"] if form is not None else ""
        if form is None or operator not in OPERATORS:
            raise QueryError(f"{condition!r}: {_problem(operator)}")
        path = form["path"].strip()
        value = form["value"].strip()
        wanted = OPERATORS[operator](value if operator in _TEXTUAL else _value(value, condition))
        where[path] = _both(where[path], wanted, condition) if path in where else wanted
    return where


def read_headers(headers: Iterable[str]) -> dict[str, Any]:
    """The filter of headers, each `NAME=VALUE`. The value is taken as text.

    Raises QueryError with the header and its fault.
    """
    wanted: dict[str, Any] = {}
    for header in headers:
        name, given, value = header.partition("=")
        if not (name and given):
            raise QueryError(f"{header!r}: give the name of a header and its value, as in 'tenant=acme'")
        if name in wanted:
            raise QueryError(f"{header!r}: this header was given already")
        wanted[name] = value
    return wanted


def _both(first: Any, second: Any, condition: str) -> Any:
    if not (isinstance(first, type(query.gt(1))) and isinstance(second, type(query.gt(1)))):
        raise QueryError(f"{condition!r}: its path is compared with a plain value already")
    return first & second


def _problem(operator: str) -> str:
    if operator in _MEANT:
        return f"there is no {operator}; write {_MEANT[operator]}"
    return f"give a path, one of {' '.join(OPERATORS)} and a value, as in 'amount>=100'"


def _value(text: str, condition: str) -> Any:
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return text
    if isinstance(value, list | dict):
        raise QueryError(f"{condition!r}: {text} is no single value; give a path that leads to one")
    return value
