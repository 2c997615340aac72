"""Commands that act on instances: one by its id, or all that a filter finds.

With a filter the number is told first and asked for; `--yes` answers, `--dry-run` only lists.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import click
import msgspec

from romancy.cli._database import database, desk, running
from romancy.cli._duration import DURATION
from romancy.cli._printing import as_json, json_option, line, say
from romancy.cli._where import filters, parse_where
from romancy.errors import RomancyError, UsageError
from romancy.insight import many
from romancy.status import TERMINAL_STATUSES, Status

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import timedelta

    from romancy.cli._database import Desk
    from romancy.instance import Instance

    Act = Callable[[Desk, str], Awaitable[object]]

__all__ = ["ACTING"]

_OPEN = tuple(status for status in Status if status not in TERMINAL_STATUSES)
_ENDED = tuple(TERMINAL_STATUSES)


def _bulk(command: Any) -> Any:
    """The options of a command that acts on one instance or on many."""
    for option in (
        json_option,
        click.option("--yes", is_flag=True, help="Do not ask before acting on all that a filter finds."),
        click.option("--dry-run", is_flag=True, help="Only list what would be acted on."),
        filters,
        click.argument("instance_id", metavar="[ID]", required=False),
        database,
    ):
        command = option(command)
    return command


async def _act(  # noqa: PLR0913 - what the options of every acting command say
    act: Act,
    verb: str,
    statuses: tuple[Status, ...],
    *,
    url: str | None,
    app: str | None,
    instance_id: str | None,
    where: tuple[str, ...],
    workflow: str | None,
    status: tuple[str, ...],
    dry_run: bool,
    yes: bool,
    json_lines: bool,
    keep: Callable[[Instance], bool] = lambda _: True,
) -> None:
    chosen = parse_where(where)
    filtered = bool(chosen or workflow or status)
    if filtered == (instance_id is not None):
        raise click.UsageError(f"name what to {verb}: either an ID, or --where, --workflow or --status")
    async with desk(url, app) as open_desk:
        if instance_id is not None:
            ids = [instance_id]
        else:
            wanted = tuple(Status(one) for one in status) or statuses
            found = open_desk.iter_instances(chosen, workflow_name=workflow, status=wanted)
            ids = [one.instance_id async for one in found if keep(one)]
        if dry_run or not ids:
            for one in ids:
                _said(one, f"would {verb}", json_lines=json_lines)
            say(f"{len(ids)} to {verb}")
            return
        if filtered and not yes:
            click.confirm(f"{verb} {many(len(ids), 'instance')}?", abort=True, err=True)
        act_still = _if_still(act, tuple(Status(one) for one in status)) if status else act
        await _each(act_still, open_desk, ids, verb, json_lines=json_lines, alone=instance_id is not None)


def _if_still(act: Act, statuses: tuple[Status, ...]) -> Act:
    """Act on what still has the status that was asked for: the question may have been answered hours later."""

    async def act_still(open_desk: Desk, one: str) -> object:
        now = await open_desk.get_instance(one)
        if now is not None and now.status not in statuses:
            raise UsageError(f"it is {now.status} now, and was left alone")
        return await act(open_desk, one)

    return act_still


async def _each(act: Act, open_desk: Desk, ids: list[str], verb: str, *, json_lines: bool, alone: bool) -> None:
    failed = 0
    for one in ids:
        try:
            done = await act(open_desk, one)
        except RomancyError as error:
            if alone or not isinstance(error, UsageError):
                raise
            failed += 1
            say(f"{one}: {error}")
            continue
        _said(one, f"{verb}: {'done' if done is not False else 'it had ended already'}", json_lines=json_lines)
    if failed:
        raise click.ClickException(f"{failed} of {len(ids)} could not be acted on; the reasons are above")


def _said(instance_id: str, what: str, *, json_lines: bool) -> None:
    if json_lines:
        as_json({"instance_id": instance_id, "outcome": what})
    else:
        line(f"{instance_id}  {what}")


@click.command()
@_bulk
@click.option("--reason", default="", help="Kept in the history.")
@running
async def cancel(reason: str, **options: Any) -> None:
    """Ask a workflow to stop and to undo what it did."""
    await _act(lambda desk, one: desk.cancel(one, reason=reason), "cancel", _OPEN, **options)


@click.command()
@_bulk
@click.option("--reason", default="", help="Kept in the history.")
@running
async def terminate(reason: str, **options: Any) -> None:
    """End a workflow at once; nothing is undone."""
    await _act(lambda desk, one: desk.terminate(one, reason=reason), "terminate", _OPEN, **options)


@click.command()
@_bulk
@click.option(
    "--unsure",
    type=click.Choice(["done", "undone"]),
    help="What to take for granted of activities whose compensation failed for good.",
)
@running
async def retry(unsure: Literal["done", "undone"] | None, **options: Any) -> None:
    """Let a failed workflow go on from its failure."""
    await _act(lambda desk, one: desk.retry(one, unsure=unsure), "retry", (Status.FAILED,), **options)


@click.command()
@_bulk
@running
async def resume(**options: Any) -> None:
    """Let a stuck workflow be tried again."""
    await _act(lambda desk, one: desk.resume(one), "resume", (Status.STUCK,), **options)


@click.command()
@_bulk
@click.option("--older-than", type=DURATION, metavar="AGE", help="Only what ended longer ago, as in 30d or 12h.")
@running
async def purge(older_than: timedelta | None, **options: Any) -> None:
    """Remove ended workflows with everything that bears their ids."""
    seen: dict[str, Instance] = {}

    async def act(open_desk: Desk, one: str) -> bool:
        if await (open_desk.purge_as_found(seen[one]) if one in seen else open_desk.purge(one)):
            return True
        found = await open_desk.get_instance(one)
        if found is None:
            await open_desk.history(one)  # says that there is none
        if one in seen and found != seen[one]:
            raise UsageError("it has changed since it was found, and was left alone")
        raise UsageError(f"instance {one!r} has not ended, or another call holds it; only ended ones can be removed")

    def keep(one: Instance) -> bool:
        seen[one.instance_id] = one
        return before is None or one.updated_at.timestamp() < before

    if older_than is not None and options["instance_id"] is not None:
        raise click.UsageError("--older-than goes with a filter, not with an ID")
    before: float | None = None
    if older_than is not None:
        if not (options["where"] or options["workflow"] or options["status"]):
            options["status"] = tuple(str(one) for one in _ENDED)
        async with desk(options["url"], options["app"]) as open_desk:
            now = (await open_desk.store.census()).now
        before = now / 1_000_000 - older_than.total_seconds()
    await _act(act, "purge", _ENDED, **options, keep=keep)


@click.command()
@database
@click.argument("instance_id", metavar="ID")
@click.argument("event", metavar="EVENT")
@click.argument("data", metavar="[JSON]", required=False)
@click.option("--key", help="The key that the workflow waits with.")
@click.option("--id", help="An id of yours: a second signal that bears it is dropped.")
@running
async def signal(instance_id: str, event: str, data: str | None, **options: str | None) -> None:
    """Send an event to one instance; it is kept until the workflow waits for it."""
    try:
        payload = None if data is None else msgspec.json.decode(data)
    except msgspec.DecodeError as error:
        raise click.UsageError(f"the data is no JSON ({error}); a text needs its quotes: '\"text\"'") from None
    async with desk(options["url"], options["app"]) as open_desk:
        await open_desk.signal(instance_id, event, payload, key=options["key"], id=options["id"])
    say(f"signal {event} sent to {instance_id}")


ACTING = (signal, cancel, terminate, retry, resume, purge)
