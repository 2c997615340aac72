"""`schedules`: lists schedules, shows one, and tells it something."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from romancy.cli._database import database, operating, running
from romancy.cli._printing import as_json, json_option, say, table
from romancy.errors import InstanceNotFoundError
from romancy.schedules.handle import ScheduleHandle, all_schedules

if TYPE_CHECKING:
    from romancy.schedules.handle import Schedule

__all__ = ["schedules"]

_MOMENT = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"])


@click.command()
@database
@click.argument("schedule_id", metavar="[ID]", required=False)
@click.option("--pause", metavar="NOTE", help="Start nothing until --resume.")
@click.option("--resume", is_flag=True, help="Go on with what is due from now on.")
@click.option("--trigger", is_flag=True, help="Start one run now.")
@click.option("--backfill", nargs=2, type=_MOMENT, metavar="FROM TO", help="Start what was due in this time, in UTC.")
@click.option("--delete", is_flag=True, help="End the schedule; its runs go on.")
@click.option("--next", "count", type=click.IntRange(1, 1000), help="Print the next ticks, so many.")
@json_option
@running
async def schedules(url: str | None, app: str | None, schedule_id: str | None, json_lines: bool, **told: Any) -> None:  # noqa: FBT001 - by name
    """List schedules; show, pause, resume or trigger one."""
    given = [name for name, value in told.items() if value is not None and value is not False]
    if len(given) > 1:
        raise click.UsageError("give one of --pause, --resume, --trigger, --backfill, --delete and --next")
    if schedule_id is None and given:
        raise click.UsageError("which schedule? Give its id")
    async with operating(url, app) as operator:
        if schedule_id is None:
            _list(await all_schedules(operator), json_lines=json_lines)
            return
        handle = ScheduleHandle(operator, operator, schedule_id)
        found = await handle.get()
        if found is None:
            raise InstanceNotFoundError(f"there is no schedule {schedule_id!r}; `romancy schedules` lists all")
        if not given:
            _show(found, json_lines=json_lines)
        elif given == ["count"]:
            for tick in await handle.next(told["count"]):
                as_json({"next": tick.isoformat()}) if json_lines else click.echo(_utc(tick))
        else:
            await _tell(handle, given[0], told[given[0]])
            say(f"{schedule_id}: a worker carries it out")


async def _tell(handle: ScheduleHandle, order: str, value: Any) -> None:
    match order:
        case "pause":
            await handle.pause(value)
        case "resume":
            await handle.resume()
        case "trigger":
            await handle.trigger()
        case "backfill":
            first, last = value
            await handle.backfill(first.replace(tzinfo=UTC), last.replace(tzinfo=UTC))
        case _:
            await handle.order_delete()


def _list(found: list[Schedule], *, json_lines: bool) -> None:
    if json_lines:
        for one in found:
            as_json(_fields(one))
    elif found:
        rows = (
            (
                "paused" if one.paused is not None else _utc(one.next),
                str(one.started),
                str(one.failed),
                one.id,
                one.timing,
            )
            for one in found
        )
        table(("NEXT (UTC)", "RUNS", "FAILED", "SCHEDULE", "DUE"), rows)
    else:
        say("there is no schedule; `app.schedule(…)` and @workflow(schedule=…) declare them")


def _show(one: Schedule, *, json_lines: bool) -> None:
    if json_lines:
        as_json(_fields(one) | {"runs": [_run(run) for run in one.runs]})
        return
    state = f"paused: {one.paused}" if one.paused is not None else f"next {_utc(one.next)}"
    click.echo(f"{one.id}: {one.workflow}, {one.timing}; {state}")
    click.echo(f"{one.started} runs, {one.failed} failed; {one.skipped} ticks were skipped")
    failing = "pauses" if one.pause_on_failure else "goes on"
    click.echo(f"overlap {one.overlap}, catchup {one.catchup}; it {failing} when a run fails")
    table(("TIME (UTC)", "OUTCOME", "ID"), ((_utc(run.scheduled_at), run.outcome, run.instance_id) for run in one.runs))


def _fields(one: Schedule) -> dict[str, Any]:
    return {
        "id": one.id,
        "workflow": one.workflow,
        "due": one.timing,
        "overlap": one.overlap,
        "catchup": one.catchup,
        "pause_on_failure": one.pause_on_failure,
        "paused": one.paused,
        "next": None if one.next is None else one.next.isoformat(),
        "started": one.started,
        "skipped": one.skipped,
        "failed": one.failed,
    }


def _run(run: Any) -> dict[str, Any]:
    return {
        "instance_id": run.instance_id,
        "scheduled_at": run.scheduled_at.isoformat(),
        "outcome": run.outcome,
    }


def _utc(moment: datetime | None) -> str:
    return "-" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S}"
