"""Commands that read: `list`, `find`, `count`, `why`, `history`, `watch`. They write nothing."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

import click

from romancy.cli._database import database, desk, running
from romancy.cli._printing import as_json, clean, data_of, json_option, paragraphs, say, table, wrapped
from romancy.cli._where import filters
from romancy.errors import InstanceNotFoundError
from romancy.log import fields_of
from romancy.storage.query import MAX_LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable

    from romancy.cli._where import Chosen
    from romancy.instance import Instance
    from romancy.log import LogEntry

__all__ = ["LOOKING"]

T = TypeVar("T")


class _Located(TypedDict):
    """The instances that the options choose by ids, as arguments of a search."""

    instance_id: str | None
    ids: list[str] | None
    parent: str | None
    top_level: bool


def _located(command: Callable[..., T]) -> Callable[..., T]:
    """The options that choose instances by their own ids and those of their parents, as `located`."""

    @functools.wraps(command)
    def locating(
        *, part: str | None, exact_ids: tuple[str, ...], parent: str | None, top_level: bool, **options: Any
    ) -> T:
        if parent is not None and top_level:
            raise click.UsageError("--top-level leaves out all children: give --parent or --top-level, not both")
        located = _Located(instance_id=part, ids=list(exact_ids) or None, parent=parent, top_level=top_level)
        return command(located=located, **options)

    for option in reversed(
        (
            click.option("--id", "part", metavar="TEXT", help="By a part of the instance's id, in capitals or not."),
            click.option("--exact-id", "exact_ids", multiple=True, metavar="ID", help="By a whole id; repeatable."),
            click.option("--parent", metavar="ID", help="The children of an instance, by its whole id."),
            click.option("--top-level", is_flag=True, help="Only instances without a parent."),
        )
    ):
        locating = option(locating)
    return locating


@click.command("list")
@database
@filters
@_located
@click.option("--oldest-first", is_flag=True, help="In ascending order.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="How many at most.")
@click.option("--results", is_flag=True, help="With --json: also what each completed instance returned.")
@click.option("--headers", is_flag=True, help="With --json: also the headers of each start.")
@json_option
@running
async def list_instances(
    *,
    url: str | None,
    app: str | None,
    chosen: Chosen,
    located: _Located,
    oldest_first: bool,
    limit: int,
    results: bool,
    headers: bool,
    json_lines: bool,
) -> None:
    """Instances, newest first; `find` is the same command.

    During a sleep of at most two seconds, an instance is listed as running and without a time to wake: no row is
    written for it. `romancy show` and `romancy why` tell it.
    """
    for name, asked in (("--results", results), ("--headers", headers)):
        if asked and not json_lines:
            raise click.UsageError(f"{name} goes with --json")
    shown: list[Instance] = []
    count, token, more = 0, None, True
    async with desk(url, app) as open_desk:
        while more and count < limit:
            page = await open_desk.find_instances(
                chosen.where,
                workflow_name=chosen.workflow,
                status=chosen.status or None,
                **located,
                started_after=chosen.started_after,
                started_before=chosen.started_before,
                ended_after=chosen.ended_after,
                ended_before=chosen.ended_before,
                oldest_first=oldest_first,
                limit=min(limit - count, MAX_LIMIT),
                page_token=token,
                headers=chosen.headers,
                with_results=results,
                with_headers=headers,
            )
            count, token, more = count + len(page.instances), page.next_page_token, page.has_more
            if json_lines:
                for instance in page.instances:
                    as_json(data_of(instance, result=results))
            else:
                shown += page.instances
    if shown:
        table(("STATUS", "UPDATED", "WORKFLOW", "INSTANCE"), map(_row_of, shown))
    if not count:
        say("no instance fits")
    if more:
        say(f"there are more than these {limit}; raise --limit or choose by --where, --workflow, --status, --id, …")


def _row_of(instance: Instance) -> tuple[str, str, str, str]:
    updated = instance.updated_at.strftime("%Y-%m-%d %H:%M:%S")
    return str(instance.status), updated, instance.workflow_name, instance.instance_id


@click.command()
@database
@filters
@_located
@json_option
@running
async def count(*, url: str | None, app: str | None, chosen: Chosen, located: _Located, json_lines: bool) -> None:
    """How many instances there are, by workflow and status.

    The filters are those of `list`. The database counts, which takes as long as reading all that fit.
    """
    async with desk(url, app) as open_desk:
        counts = await open_desk.count(
            chosen.where,
            workflow_name=chosen.workflow,
            status=chosen.status or None,
            **located,
            started_after=chosen.started_after,
            started_before=chosen.started_before,
            ended_after=chosen.ended_after,
            ended_before=chosen.ended_before,
            headers=chosen.headers,
        )
    lines = counts.by_workflow_and_status.items()
    if json_lines:
        for (workflow, status), number in lines:
            as_json({"workflow": workflow, "status": str(status), "count": number})
        return
    if counts:
        table(("STATUS", "COUNT", "WORKFLOW"), ((str(status), str(number), name) for (name, status), number in lines))
    say(f"{counts} {'instance' if counts == 1 else 'instances'}" if counts else "no instance fits")


find = click.Command(
    "find", params=list_instances.params, callback=list_instances.callback, help=list_instances.help, hidden=True
)


@click.command()
@database
@click.argument("instance_id", metavar="ID")
@json_option
@running
async def why(url: str | None, app: str | None, instance_id: str, json_lines: bool) -> None:  # noqa: FBT001 - by name
    """Why an instance does not move."""
    async with desk(url, app) as open_desk:
        reasons = await open_desk.explain(instance_id)
        instance = await open_desk.get_instance(instance_id)
    if instance is None:
        raise InstanceNotFoundError(f"instance {instance_id!r} was just removed")
    if json_lines:
        as_json({"instance_id": instance_id, "status": str(instance.status), "reasons": reasons})
        return
    for reason in reasons:
        for text in paragraphs(reason):
            click.echo(text)


def _of_a_log(command: Any) -> Any:
    """The options of a command that reads a log."""
    for option in (
        json_option,
        click.option("--after", metavar="CURSOR", help="Only what follows an entry, by the cursor it bore."),
        click.argument("instance_id", metavar="ID"),
        database,
    ):
        command = option(command)
    return command


@click.command()
@_of_a_log
@running
async def history(**options: Any) -> None:
    """Every event of an instance's log, oldest first."""
    await _print_log(**options, follow=False)


@click.command()
@_of_a_log
@running
async def watch(**options: Any) -> None:
    """Follow an instance's log, from its beginning until it ends."""
    await _print_log(**options, follow=True)


async def _print_log(
    *, url: str | None, app: str | None, instance_id: str, after: str | None, json_lines: bool, follow: bool
) -> None:
    async with desk(url, app) as open_desk:
        async for entry in open_desk.entries_of(instance_id, after=after, follow=follow):
            _print_entry(entry, json_lines=json_lines)


def _print_entry(entry: LogEntry, *, json_lines: bool) -> None:
    event = fields_of(entry.event)
    if json_lines:
        as_json({"instance_id": entry.instance_id, "at": entry.at, "cursor": entry.cursor, "event": event})
        return
    fields = " ".join(f"{key}={bytes(value).decode()}" for key, value in event.items() if key not in {"type", "at"})
    click.echo(wrapped(clean(f"{entry.at:%H:%M:%S.%f} {type(entry.event).__name__} {fields}")))


LOOKING = (list_instances, find, count, why, history, watch)
