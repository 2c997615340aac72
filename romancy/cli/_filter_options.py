"""The options that choose instances, which a command gets as one filter, `chosen`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from romancy.cli._duration import moment
from romancy.cli._gathering import gathered
from romancy.errors import QueryError
from romancy.managing.typed_conditions import read_conditions, read_headers
from romancy.query import InstanceFilter, told_as
from romancy.status import Status

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from romancy.status import StatusName

__all__ = ["filters", "filters_to_act"]

_OPTIONS: Final = {
    "where": "--where",
    "headers": "--header",
    "workflow_name": "--workflow",
    "status": "--status",
    "started_after": "--started-after",
    "started_before": "--started-before",
    "ended_after": "--ended-after",
    "ended_before": "--ended-before",
    "instance_id": "--id",
    "ids": "--exact-id",
    "parent": "--parent",
    "top_level": "--top-level",
    "error": "--error",
}
"""The arguments of a filter as the reader of an error has written them."""


def _chosen(  # noqa: PLR0913 - each option of a filter
    *,
    where: tuple[str, ...],
    header: tuple[str, ...],
    workflow: str | None,
    status: tuple[StatusName, ...],
    started_after: datetime | None,
    started_before: datetime | None,
    ended_after: datetime | None,
    ended_before: datetime | None,
    exact_ids: tuple[str, ...],
    parent: str | None,
    top_level: bool,
    error: str | None,
    part: str | None = None,
) -> InstanceFilter:
    """The filter of all options. click.UsageError names the option that is wrong, before a database is opened."""
    if parent is not None and top_level:
        raise click.UsageError("--top-level leaves out all children: give --parent or --top-level, not both")
    try:
        with told_as(_OPTIONS):
            return InstanceFilter(
                _conditions(where),
                workflow_name=workflow,
                status=status or None,
                instance_id=part,
                started_after=started_after,
                started_before=started_before,
                ended_after=ended_after,
                ended_before=ended_before,
                parent=parent,
                top_level=top_level,
                ids=exact_ids or None,
                error=error,
                headers=_headers(header),
            )
    except QueryError as wrong:
        raise click.UsageError(str(wrong)) from None


def _conditions(conditions: tuple[str, ...]) -> dict[str, Any]:
    try:
        return read_conditions(conditions)
    except QueryError as error:
        cut = any(not set("=!<>^*~") & set(condition) for condition in conditions)
        hint = "; in quotes, since a shell takes > and < for itself" if cut else ""
        raise click.UsageError(f"--where {error}{hint}") from None


def _headers(headers: Iterable[str]) -> dict[str, Any]:
    try:
        return read_headers(headers)
    except QueryError as error:
        raise click.UsageError(f"--header {error}") from None


def _whole(name: str) -> str:
    if not name:
        raise click.BadParameter("it is empty, and no workflow has such a name; leave it out to choose all")
    return name


_OTHERS: Final = (
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
    click.option("--exact-id", "exact_ids", multiple=True, metavar="ID", help="By a whole id; repeatable."),
    click.option("--parent", metavar="ID", help="The children of an instance, by its whole id."),
    click.option("--top-level", is_flag=True, help="Only instances without a parent."),
    click.option("--error", metavar="TEXT|GROUP", help="By a part of the error, or a group of `romancy failures`."),
)
_INPUT: Final = (
    click.option("--where", multiple=True, metavar="PATH=VALUE", help="By the input: = != > >= < <= ^= *=."),
    click.option("--header", multiple=True, metavar="NAME=VALUE", help="By a header of the start; repeatable."),
)
filters: Final = gathered(
    "chosen",
    _chosen,
    *_INPUT,
    click.option("--workflow", metavar="NAME", help="By a part of the workflow's name."),
    click.option("--id", "part", metavar="TEXT", help="By a part of the instance's id, in capitals or not."),
    *_OTHERS,
)
"""Gives a command the options of a search."""
filters_to_act: Final = gathered(
    "chosen",
    _chosen,
    *_INPUT,
    click.option("--workflow", type=_whole, metavar="NAME", help="By the workflow's whole name."),
    *_OTHERS,
)
"""Gives a command the options that choose instances to act on. It takes no parts of names."""
