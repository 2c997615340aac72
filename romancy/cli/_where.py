"""Filters as they are typed in a shell: `amount>=100`, `customer.city=Paris`, `note^=urgent`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
import msgspec

from romancy import query
from romancy.status import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["filters", "parse_where"]

F = TypeVar("F", bound="Callable[..., Any]")

_OPERATORS: Final[dict[str, Callable[[Any], Any]]] = {
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


def parse_where(conditions: Iterable[str]) -> dict[str, Any]:
    """The filter of all conditions, each `PATH OPERATOR VALUE`; a value that is no JSON is a text."""
    where: dict[str, Any] = {}
    for condition in conditions:
        form = _FORM.fullmatch(condition)
        operator = form["operator"] if form is not None else ""
        if form is None or operator not in _OPERATORS:
            raise click.UsageError(f"--where {condition!r}: {_problem(condition, operator)}")
        path = form["path"].strip()
        value = form["value"].strip()
        wanted = _OPERATORS[operator](value if operator in _TEXTUAL else _value(value, condition))
        where[path] = _both(where[path], wanted, condition) if path in where else wanted
    return where


def _both(first: Any, second: Any, condition: str) -> Any:
    if not (isinstance(first, type(query.gt(1))) and isinstance(second, type(query.gt(1)))):
        raise click.UsageError(f"--where {condition!r}: its path is compared with a plain value already")
    return first & second


def _problem(condition: str, operator: str) -> str:
    if operator in _MEANT:
        return f"there is no {operator}; write {_MEANT[operator]}"
    cut = "; in quotes, since a shell takes > and < for itself" if not operator and "~" not in condition else ""
    return f"give a path, one of {' '.join(_OPERATORS)} and a value, as in 'amount>=100'{cut}"


def _value(text: str, condition: str) -> Any:
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError):
        return text
    if isinstance(value, list | dict):
        raise click.UsageError(f"--where {condition!r}: {text} is no single value; give a path that leads to one")
    return value


def filters(command: F) -> F:
    """The options that choose instances."""
    for option in reversed(
        (
            click.option("--where", multiple=True, metavar="PATH=VALUE", help="By the input: = != > >= < <= ^= *=."),
            click.option("--workflow", metavar="NAME", help="By a part of the workflow's name."),
            click.option(
                "--status",
                multiple=True,
                type=click.Choice([str(one) for one in Status]),
                metavar="STATUS",
                help=f"By status; repeatable: {', '.join(Status)}.",
            ),
        )
    ):
        command = option(command)
    return command
