"""The options that choose instances: `--where`, `--workflow`, `--status`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import click

from romancy._conditions import read_conditions
from romancy.errors import QueryError
from romancy.status import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["filters", "parse_where"]

F = TypeVar("F", bound="Callable[..., Any]")


def parse_where(conditions: Iterable[str]) -> dict[str, Any]:
    """The filter of all conditions; click.UsageError if one cannot be read."""
    where = list(conditions)
    try:
        return read_conditions(where)
    except QueryError as error:
        cut = any(not set("=!<>^*~") & set(condition) for condition in where)
        hint = "; in quotes, since a shell takes > and < for itself" if cut else ""
        raise click.UsageError(f"--where {error}{hint}") from None


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
