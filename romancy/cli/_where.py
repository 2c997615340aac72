"""The options that choose instances: `--where`, `--header`, `--workflow`, `--status`, and times of start and end."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from romancy._conditions import read_conditions, read_headers
from romancy.cli._moment import moment
from romancy.errors import QueryError
from romancy.status import Status
from romancy.storage.query import FilterValue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


__all__ = ["Chosen", "filters", "filters_to_act", "parse_where", "whole_name"]

T = TypeVar("T")

_PART: Final = click.option("--workflow", metavar="NAME", help="By a part of the workflow's name.")
whole_name: Final = click.option("--workflow", metavar="NAME", help="By the workflow's whole name.")


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The instances that the options choose."""

    where: dict[str, FilterValue]
    workflow: str | None = None
    status: tuple[Status, ...] = ()
    started_after: datetime | None = None
    started_before: datetime | None = None
    ended_after: datetime | None = None
    ended_before: datetime | None = None
    headers: dict[str, FilterValue] = field(default_factory=dict[str, FilterValue])

    def __bool__(self) -> bool:
        """Whether any option was given."""
        return self != Chosen(where={})


def parse_where(conditions: Iterable[str]) -> dict[str, Any]:
    """The filter of all conditions; click.UsageError if one cannot be read."""
    where = list(conditions)
    try:
        return read_conditions(where)
    except QueryError as error:
        cut = any(not set("=!<>^*~") & set(condition) for condition in where)
        hint = "; in quotes, since a shell takes > and < for itself" if cut else ""
        raise click.UsageError(f"--where {error}{hint}") from None


def _parse_headers(headers: Iterable[str]) -> dict[str, Any]:
    try:
        return read_headers(headers)
    except QueryError as error:
        raise click.UsageError(f"--header {error}") from None


def filters(command: Callable[..., T]) -> Callable[..., T]:
    """The options of a search, which the command gets as `chosen`."""
    return _filters(command, _PART)


def filters_to_act(command: Callable[..., T]) -> Callable[..., T]:
    """The options that choose instances to act on, which the command gets as `chosen`."""
    return _filters(command, whole_name)


def _filters(command: Callable[..., T], by_name: Callable[..., Any]) -> Callable[..., T]:

    @functools.wraps(command)
    def choosing(
        *,
        where: tuple[str, ...],
        header: tuple[str, ...],
        workflow: str | None,
        status: tuple[str, ...],
        started_after: datetime | None,
        started_before: datetime | None,
        ended_after: datetime | None,
        ended_before: datetime | None,
        **options: Any,
    ) -> T:
        chosen = Chosen(
            where=parse_where(where),
            workflow=workflow or None,
            status=tuple(map(Status, status)),
            started_after=started_after,
            started_before=started_before,
            ended_after=ended_after,
            ended_before=ended_before,
            headers=_parse_headers(header),
        )
        return command(chosen=chosen, **options)

    for option in reversed(
        (
            click.option("--where", multiple=True, metavar="PATH=VALUE", help="By the input: = != > >= < <= ^= *=."),
            click.option("--header", multiple=True, metavar="NAME=VALUE", help="By a header of the start; repeatable."),
            by_name,
            click.option(
                "--status",
                multiple=True,
                type=click.Choice([str(one) for one in Status]),
                metavar="STATUS",
                help=f"By status; repeatable: {', '.join(Status)}.",
            ),
            click.option("--started-after", type=moment, metavar="TIME", help="Started then or later: a time, or 2h."),
            click.option("--started-before", type=moment, metavar="TIME", help="Started before: a time, or 30d."),
            click.option("--ended-after", type=moment, metavar="TIME", help="Ended then or later: a time, or 2h."),
            click.option("--ended-before", type=moment, metavar="TIME", help="Ended before: a time, or 30d."),
        )
    ):
        choosing = option(choosing)
    return choosing
