"""Commands that read: `list`, `find`, `count`, `why`, `history`, `watch`, `logs`. They write nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import click

from romancy.cli._database import database, operating, running
from romancy.cli._filter_options import filters
from romancy.cli._gathering import gathered
from romancy.cli._printing import as_json, clean, data_of, json_option, paragraphs, say, table, wrapped
from romancy.errors import InstanceNotFoundError
from romancy.kept_logs import fields_of_line
from romancy.log import fields_of
from romancy.storage.query import MAX_LIMIT

if TYPE_CHECKING:
    from romancy._lists import ReadLag
    from romancy.instance import Instance
    from romancy.kept_logs import LogLine
    from romancy.log import LogEntry
    from romancy.query import InstanceFilter

__all__ = ["LOOKING"]


@click.command("list")
@database
@filters
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
    chosen: InstanceFilter,
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
    async with operating(url, app, lists=True) as operator:
        lag = await operator.read_lag()
        while more and count < limit:
            page = await operator.find_instances(
                chosen,
                oldest_first=oldest_first,
                limit=min(limit - count, MAX_LIMIT),
                page_token=token,
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
    _say_lag(lag)
    if more:
        say(f"there are more than these {limit}; raise --limit or choose by --where, --workflow, --status, --id, …")


def _say_lag(lag: ReadLag | None) -> None:
    if lag is not None:
        say(str(lag))


def _row_of(instance: Instance) -> tuple[str, str, str, str]:
    updated = instance.updated_at.strftime("%Y-%m-%d %H:%M:%S")
    return str(instance.status), updated, instance.workflow_name, instance.instance_id


@click.command()
@database
@filters
@json_option
@running
async def count(*, url: str | None, app: str | None, chosen: InstanceFilter, json_lines: bool) -> None:
    """How many instances there are, by workflow and status.

    The filters are those of `list`. The database counts, which takes as long as reading all that fit.
    """
    async with operating(url, app, lists=True) as operator:
        counts, lag = await operator.count(chosen), await operator.read_lag()
    lines = counts.by_workflow_and_status.items()
    if json_lines:
        for (workflow, status), number in lines:
            as_json({"workflow": workflow, "status": str(status), "count": number})
        return
    if counts:
        table(("STATUS", "COUNT", "WORKFLOW"), ((str(status), str(number), name) for (name, status), number in lines))
    say(f"{counts} {'instance' if counts == 1 else 'instances'}" if counts else "no instance fits")
    _say_lag(lag)


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
    async with operating(url, app, code=True) as operator:
        reasons = await operator.explain(instance_id)
        instance = await operator.get_instance(instance_id)
    if instance is None:
        raise InstanceNotFoundError(f"instance {instance_id!r} was just removed")
    if json_lines:
        as_json({"instance_id": instance_id, "status": str(instance.status), "reasons": reasons})
        return
    for reason in reasons:
        for text in paragraphs(reason):
            click.echo(text)


@dataclass(frozen=True)
class _Log:
    """The log that a command reads, and how."""

    url: str | None
    app: str | None
    instance_id: str
    after: str | None
    json_lines: bool

    async def print(self, *, follow: bool) -> None:
        async with operating(self.url, self.app) as operator:
            async for entry in operator.entries_of(self.instance_id, after=self.after, follow=follow):
                _print_entry(entry, json_lines=self.json_lines)


_of_a_log: Final = gathered(
    "log",
    _Log,
    database,
    click.argument("instance_id", metavar="ID"),
    click.option("--after", metavar="CURSOR", help="Only what follows an entry, by the cursor it bore."),
    json_option,
)


@click.command()
@_of_a_log
@running
async def history(log: _Log) -> None:
    """Every event of an instance's log, oldest first."""
    await log.print(follow=False)


@click.command()
@_of_a_log
@running
async def watch(log: _Log) -> None:
    """Follow an instance's log, from its beginning until it ends."""
    await log.print(follow=True)


def _print_entry(entry: LogEntry, *, json_lines: bool) -> None:
    event = fields_of(entry.event)
    if json_lines:
        as_json({"instance_id": entry.instance_id, "at": entry.at, "cursor": entry.cursor, "event": event})
        return
    fields = " ".join(f"{key}={bytes(value).decode()}" for key, value in event.items() if key not in {"type", "at"})
    click.echo(wrapped(clean(f"{entry.at:%H:%M:%S.%f} {type(entry.event).__name__} {fields}")))


@click.command()
@database
@click.argument("instance_id", metavar="ID")
@click.option("-f", "--follow", is_flag=True, help="Also the lines to come, until the instance ends.")
@click.option("--level", metavar="LEVEL", help="Only lines of this level or above, such as WARNING.")
@click.option("--activity", metavar="ID", help="Only lines of this activity, by its id or its name.")
@click.option("--after", metavar="CURSOR", help="Only what follows a line, by the cursor it bore with --json.")
@json_option
@running
async def logs(
    *,
    url: str | None,
    app: str | None,
    instance_id: str,
    follow: bool,
    level: str | None,
    activity: str | None,
    after: str | None,
    json_lines: bool,
) -> None:
    """What the body and the activities of an instance have logged.

    Lines are there if the app of the worker keeps them: `Romancy(keep_logs="INFO")`.
    """
    found = False
    async with operating(url, app) as operator:
        async for one in operator.logs_of(instance_id, after=after, follow=follow, level=level):
            if activity is None or activity in {one.activity_id, (one.activity_id or "").rpartition(":")[0]}:
                found = True
                _print_log_line(one, json_lines=json_lines)
    if not found:
        say("no line fits" if level or activity or after else "no line was kept of this instance (keep_logs=)")


def _print_log_line(one: LogLine, *, json_lines: bool) -> None:
    if json_lines:
        as_json(fields_of_line(one))
        return
    where = one.activity_id or "body"
    attempt = f" ({one.attempt})" if one.attempt is not None and one.attempt > 1 else ""
    click.echo(clean(f"{one.at:%H:%M:%S.%f} {one.level:<8} {where}{attempt}: {one.message}"))
    for text in (one.error or "").splitlines():
        click.echo(clean(f"    {text}"))


LOOKING = (list_instances, find, count, why, history, watch, logs)
