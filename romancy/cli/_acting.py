"""Commands that act on instances: `signal`, `cancel`, `terminate`, `retry`, `resume`, `pause`, `unpause`, `purge`."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Literal

import click

from romancy.cli._bulk import Action, Request, act_on, bulk
from romancy.cli._database import Operator, operating, running
from romancy.cli._duration import duration
from romancy.cli._printing import say
from romancy.cli._requesting import decoded
from romancy.engine import PAUSABLE, RETRIED
from romancy.errors import InstanceNotFoundError, UsageError
from romancy.query import InstanceFilter
from romancy.status import TERMINAL_STATUSES, Status

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager
    from datetime import timedelta

    from romancy.instance import Instance

__all__ = ["ACTING"]

_OPEN: Final = tuple(status for status in Status if status not in TERMINAL_STATUSES)
_ENDED: Final = tuple(TERMINAL_STATUSES)
_instance = click.argument("instance_id", metavar="[ID]", required=False)
_reason = click.option("--reason", default="", help="Kept in the history.")
_activity = click.option("--activity", metavar="NAME", help="An activity, on all workers, and no workflow.")
_starts = click.option("--starts", metavar="WORKFLOW", help="The starts of a workflow, and none that has begun.")


def _by_name(request: Request, *given: str | None) -> AbstractAsyncContextManager[Operator]:
    """The database for a command on an activity or on starts, which chooses no workflows."""
    if request.instance_id is not None or not request.chosen.is_empty or None not in given:
        raise click.UsageError("--activity and --starts go neither together, nor with an ID or a filter")
    return operating(request.url, request.app)


@click.command()
@bulk
@_instance
@_reason
@running
async def cancel(request: Request, reason: str) -> None:
    """Ask a workflow to stop and to undo what it did."""
    await act_on(Action("cancel", _OPEN, lambda operator, one, _: operator.cancel(one, reason=reason)), request)


@click.command()
@bulk
@_instance
@_reason
@running
async def terminate(request: Request, reason: str) -> None:
    """End a workflow at once; nothing is undone."""
    await act_on(Action("terminate", _OPEN, lambda operator, one, _: operator.terminate(one, reason=reason)), request)


@click.command()
@bulk
@_instance
@click.option(
    "--unsure",
    type=click.Choice(["done", "undone"]),
    help="What to take for granted of activities that did not answer, or whose compensation failed for good.",
)
@running
async def retry(request: Request, unsure: Literal["done", "undone"] | None) -> None:
    """Run a failed or cancelled workflow again. Completed work that was not undone is kept.

    A filter without --status finds failed ones.
    """

    async def again(operator: Operator, one: str, _: object) -> None:
        await operator.retry(one, unsure=unsure)

    await act_on(Action("retry", RETRIED, again, by_itself=(Status.FAILED,)), request)


@click.command()
@bulk
@_instance
@running
async def resume(request: Request) -> None:
    """Let a stuck workflow be tried again."""
    await act_on(Action("resume", (Status.STUCK,), lambda operator, one, _: operator.resume(one)), request)


@click.command()
@bulk
@_instance
@_reason
@click.option("--freeze-time", is_flag=True, help="Put off by the pause what it waits for.")
@_activity
@_starts
@running
async def pause(request: Request, reason: str, *, freeze_time: bool, activity: str | None, starts: str | None) -> None:
    """Let nothing new of a workflow begin, until it is unpaused. What is at work ends and is recorded.

    With --activity: let no attempt at this activity begin on any worker. With --starts: let no instance of this
    workflow begin; starts are accepted and wait. `romancy workers` lists what is paused so.
    """
    if freeze_time and (activity, starts) != (None, None):
        raise click.UsageError("--freeze-time is for workflows: what is paused by --activity or --starts waits anyway")
    if activity is not None:
        async with _by_name(request, activity, starts) as operator:
            await operator.pause_activity(activity, reason=reason)
        say(f"{activity}: no attempt begins until `romancy unpause --activity {activity}`")
        return
    if starts is not None:
        async with _by_name(request, activity, starts) as operator:
            await operator.pause_workflow(starts, reason=reason)
        say(f"{starts}: starts wait until `romancy unpause --starts {starts}`; what has begun goes on")
        return

    async def stop(operator: Operator, one: str, _: object) -> None:
        await operator.pause(one, reason=reason, freeze_time=freeze_time)

    await act_on(Action("pause", tuple(PAUSABLE), stop), request)


@click.command()
@bulk
@_instance
@_activity
@_starts
@running
async def unpause(request: Request, activity: str | None, starts: str | None) -> None:
    """Let a paused workflow go on, with what has come meanwhile. With --activity: let its attempts begin again.

    With --starts: let instances of this workflow begin again, those that wait too.
    """
    if activity is not None:
        async with _by_name(request, activity, starts) as operator:
            await operator.unpause_activity(activity)
        say(f"{activity}: attempts begin again")
        return
    if starts is not None:
        async with _by_name(request, activity, starts) as operator:
            await operator.unpause_workflow(starts)
        say(f"{starts}: starts begin again, and workers let those that wait go on")
        return
    await act_on(Action("unpause", (Status.PAUSED,), lambda operator, one, _: operator.unpause(one)), request)


@click.command()
@bulk
@_instance
@click.option("--older-than", type=duration, metavar="AGE", help="Only what ended longer ago, as in 30d or 12h.")
@click.option("--children", is_flag=True, help="Their ended children too; says which ones are open and stay.")
@running
async def purge(request: Request, *, older_than: timedelta | None, children: bool) -> None:
    """Remove ended workflows with all data under their ids.

    With a filter it prints how many; --json prints each.
    """
    if older_than is not None and request.instance_id is not None:
        raise click.UsageError("--older-than goes with a filter, not with an ID")
    if older_than is not None and request.chosen.is_empty:
        request = replace(request, chosen=InstanceFilter(status=_ENDED))
    quiet_for = None if older_than is None else older_than.total_seconds()
    act = functools.partial(_purge, children=children)
    together = None if children else Operator.purge_all_as_found
    action = Action("purge", _ENDED, act, quiet_for=quiet_for, as_found=True, together=together, done="removed")
    await act_on(action, request)


async def _purge(operator: Operator, instance_id: str, found: Instance | None, *, children: bool) -> None:
    if found is None:
        purged = await operator.purge(instance_id, children=children)
    else:
        purged = await operator.purge_as_found(found, children=children)
    if purged.open:
        say(f"{instance_id}: these children are open and stay: {', '.join(purged.open)}")
    now = None if purged and not children else await operator.get_instance(instance_id)
    if now is None and (purged or (children and found is not None)):
        return  # with a filter, it may have gone with its parent
    if now is None:
        raise InstanceNotFoundError(f"there is no instance {instance_id!r}")
    if found is not None and now != found:
        raise UsageError("it has changed since it was found, and was left alone")
    raise UsageError(
        f"instance {instance_id!r} has not ended, or another call holds it; only ended ones can be removed"
    )


@click.command()
@bulk
@click.argument("words", metavar="[ID] EVENT [JSON]", nargs=-1, required=True)
@click.option("--key", help="The key that the workflow waits with.")
@click.option("--id", help="An id of yours: a second signal that bears it is dropped.")
@running
async def signal(request: Request, words: tuple[str, ...], key: str | None, id: str | None) -> None:
    """Send an event to one instance, or to many.

    It is kept until the workflow waits for it. The many are all open ones that a filter finds. With a filter there
    is no ID: the event comes first.
    """
    filtered = not request.chosen.is_empty
    instance_id, (event, *data) = (None, words) if filtered else (words[0], words[1:] or ("",))
    if not event or len(data) > 1:
        wanted = "EVENT [JSON] and a filter, without an ID" if filtered else "ID EVENT [JSON]"
        raise click.UsageError(f"name what to signal: {wanted}; several values are one JSON, in quotes for the shell")
    payload = decoded(data[0]) if data else None
    action = Action("signal", _OPEN, lambda operator, one, _: operator.signal(one, event, payload, key=key, id=id))
    await act_on(action, replace(request, instance_id=instance_id))


ACTING = (signal, cancel, terminate, retry, resume, pause, unpause, purge)
