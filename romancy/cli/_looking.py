"""Commands that look: `list`, `find`, `show`, `why`, `history`, `watch`, `workers`. They write nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import msgspec

from romancy.cli._database import database, desk, running
from romancy.cli._printing import as_json, clean, data_of, json_option, line, say, table, wrapped
from romancy.cli._where import filters, parse_where
from romancy.engine import names_in, versions_in
from romancy.errors import InstanceNotFoundError
from romancy.insight import Note, Step, Timeline, ago, explain, moment, span

if TYPE_CHECKING:
    from collections.abc import Iterator

    from romancy.cli._database import Desk
    from romancy.instance import Instance
    from romancy.log import LogEntry
    from romancy.serialization import ErrorInfo
    from romancy.status import StatusName
    from romancy.storage.records import Census, InstanceRow, Peer

__all__ = ["LOOKING"]


@click.command("list")
@database
@filters
@click.option("--id", "part", metavar="TEXT", help="By a part of the instance's id.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="How many at most.")
@json_option
@running
async def list_instances(  # noqa: PLR0917 - one for each option; click gives them by name
    url: str | None,
    app: str | None,
    where: tuple[str, ...],
    workflow: str | None,
    status: tuple[StatusName, ...],
    part: str | None,
    limit: int,
    json_lines: bool,  # noqa: FBT001 - click gives it by name
) -> None:
    """Instances, newest first; `find` is the same command."""
    chosen = parse_where(where)
    async with desk(url, app) as open_desk:
        found = open_desk.iter_instances(chosen, workflow_name=workflow, status=status or None, instance_id=part)
        shown: list[Instance] = []
        more = False
        async for instance in found:
            if len(shown) == limit:
                more = True
                break
            shown.append(instance)
            if json_lines:
                as_json(data_of(instance))
    if not json_lines and shown:
        table(("STATUS", "UPDATED", "WORKFLOW", "INSTANCE"), map(_row_of, shown))
    if not shown:
        say("no instance fits")
    if more:
        say(f"there are more than these {limit}; raise --limit or choose by --where, --workflow, --status, --id")


def _row_of(instance: Instance) -> tuple[str, str, str, str]:
    updated = instance.updated_at.strftime("%Y-%m-%d %H:%M:%S")
    return str(instance.status), updated, instance.workflow_name, instance.instance_id


find = click.Command(
    "find", params=list_instances.params, callback=list_instances.callback, help=list_instances.help, hidden=True
)


@click.command()
@database
@click.argument("instance_id", metavar="ID")
@json_option
@running
async def show(url: str | None, app: str | None, instance_id: str, json_lines: bool) -> None:  # noqa: FBT001 - by name
    """What an instance did, step by step, and what it waits for."""
    async with desk(url, app) as open_desk:
        row, timeline, census = await _looked(open_desk, instance_id)
        instance = await open_desk.get_instance(instance_id)
    if instance is None:
        raise InstanceNotFoundError(f"instance {instance_id!r} was just removed")
    reasons = explain(row, timeline, census)
    if json_lines:
        as_json({**data_of(instance), "steps": [_record(step) for step in timeline.steps], "reasons": reasons})
        return
    _head(instance)
    for entry in timeline.entries:
        for text in _told(entry, row.created_at, census.now):
            click.echo(text)
    line()
    for reason in reasons:
        click.echo(wrapped(reason))


def _head(instance: Instance) -> None:
    line(f"{instance.workflow_name}  {instance.instance_id}")
    line(f"status   {instance.status}")
    line(f"started  {instance.created_at:%Y-%m-%d %H:%M:%S} UTC")
    if instance.parent_id is not None:
        line(f"parent   {instance.parent_id}")
    shown = data_of(instance)
    text = (
        "(sealed by a codec; give --app)" if shown.get("input_sealed") else msgspec.json.encode(shown["input"]).decode()
    )
    click.echo(wrapped(f"input    {text}", ""))
    line()


def _told(entry: Step | Note, start: int, now: int) -> Iterator[str]:
    if isinstance(entry, Note):
        yield wrapped(f"{_offset(entry.at, start)}  {entry.text}")
        yield from _error(entry.error)
        return
    undoes = f" undoes {entry.undoes}" if entry.undoes else ""
    child = f" {entry.instance_id}" if entry.instance_id else ""
    took = span((entry.ended_at if entry.ended_at is not None else now) - entry.began_at)
    yield wrapped(f"{_offset(entry.began_at, start)}  {entry.kind} {entry.id}{child}{undoes}: {entry.outcome}, {took}")
    for failure in entry.failures:
        yield wrapped(f"attempt {failure.number} failed {_offset(failure.at, start).strip()}", " " * 12)
        yield from _error(failure.error)
    yield from _error(entry.error)


def _offset(at: int, start: int) -> str:
    return f"+{span(max(at - start, 0))}".rjust(10)


def _error(error: ErrorInfo | None, indent: str = " " * 12) -> Iterator[str]:
    """The error, its members and its causes."""
    if error is None:
        return
    yield wrapped(f"{error.type}: {error.message}" if error.message else error.type, indent)
    for member in error.members:
        yield from _error(member, indent + "  | ")
    if error.cause is not None:
        yield from _error(error.cause, indent + "  by ")


def _record(step: Step) -> dict[str, Any]:
    return {
        "kind": step.kind,
        "id": step.id,
        "name": step.name,
        "began_at": step.began_at,
        "ended_at": step.ended_at,
        "outcome": step.outcome,
        "due": step.due,
        "undoes": step.undoes,
        "child_instance_id": step.instance_id,
        "failures": [
            {"attempt": failure.number, "at": failure.at, "error": failure.error.type, "message": failure.error.message}
            for failure in step.failures
        ],
        "error": None if step.error is None else {"type": step.error.type, "message": step.error.message},
    }


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
        click.echo(wrapped(reason))


async def _looked(open_desk: Desk, instance_id: str) -> tuple[InstanceRow, Timeline, Census]:
    timeline = Timeline.of(await open_desk.history(instance_id))
    found = await open_desk.store.read(instance_id, limit=0)
    if found is None:
        raise InstanceNotFoundError(f"instance {instance_id!r} was just removed")
    return found.instance, timeline, await open_desk.store.census()


@click.command()
@database
@click.argument("instance_id", metavar="ID")
@click.option("--after", metavar="CURSOR", help="Only what follows an entry, by the cursor it bore.")
@json_option
@running
async def history(url: str | None, app: str | None, instance_id: str, after: str | None, json_lines: bool) -> None:  # noqa: FBT001 - by name
    """Every event of an instance's log, oldest first."""
    async with desk(url, app) as open_desk:
        async for entry in open_desk.entries_of(instance_id, after=after):
            _print_entry(entry, json_lines=json_lines)


@click.command()
@database
@click.argument("instance_id", metavar="ID")
@click.option("--after", metavar="CURSOR", help="Only what follows an entry, by the cursor it bore.")
@json_option
@running
async def watch(url: str | None, app: str | None, instance_id: str, after: str | None, json_lines: bool) -> None:  # noqa: FBT001 - by name
    """Every event of an instance's log, and those to come, until the instance ends."""
    async with desk(url, app) as open_desk:
        async for entry in open_desk.entries_of(instance_id, after=after, follow=True):
            _print_entry(entry, json_lines=json_lines)


def _print_entry(entry: LogEntry, *, json_lines: bool) -> None:
    event: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(entry.event))
    if json_lines:
        as_json({"instance_id": entry.instance_id, "at": entry.at, "cursor": entry.cursor, "event": event})
        return
    kind = event.pop("type")
    event.pop("at", None)
    fields = " ".join(f"{key}={msgspec.json.encode(value).decode()}" for key, value in event.items())
    click.echo(wrapped(clean(f"{entry.at:%H:%M:%S.%f} {kind} {fields}")))


@click.command()
@database
@json_option
@running
async def workers(url: str | None, app: str | None, json_lines: bool) -> None:  # noqa: FBT001 - by name
    """The workers that are registered, with their last signs of life."""
    async with desk(url, app) as open_desk:
        census = await open_desk.store.census()
    for peer in census.workers if json_lines else ():
        as_json(
            {
                "worker_id": peer.worker_id,
                "state": _state(peer, census.now),
                "pid": peer.host.pid,
                "started_at": peer.started_at,
                "beat_at": peer.beat_at,
                "lease": peer.lease,
                "codes": sorted(versions_in(peer.codes)),
                "workflows": sorted(names_in(peer.codes)),
            }
        )
    if not json_lines and census.workers:
        rows = (
            (_state(peer, census.now), ago(peer.beat_at, census.now), moment(peer.started_at), peer.worker_id)
            for peer in census.workers
        )
        table(("STATE", "LAST BEAT", "STARTED (UTC)", "WORKER"), rows)
    if not census.workers:
        say("no worker is registered; start one with `romancy run MODULE:APP`")


def _state(peer: Peer, now: int) -> str:
    if peer.dead:
        return "dead"
    return "silent" if peer.beat_at + peer.lease < now else "alive"


LOOKING = (list_instances, find, show, why, history, watch, workers)
