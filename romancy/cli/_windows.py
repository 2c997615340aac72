"""`debounce` and `batch` make calls for windows; `windows` lists windows, shows one, and tells it something."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from romancy.cli._apps import load_app
from romancy.cli._database import database, operating, running
from romancy.cli._duration import duration
from romancy.cli._inputs import arguments_of, item_of, workflow_of
from romancy.cli._printing import as_json, json_option, line, say, table
from romancy.cli._private import refuse_private
from romancy.errors import InstanceNotFoundError
from romancy.insight import many
from romancy.storage.query import MAX_LIMIT
from romancy.windows.handle import tell_window
from romancy.windows.listing import page_of_windows
from romancy.windows.looking import window_of
from romancy.windows.records import WINDOW, Drop, Flush

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime, timedelta

    from romancy.cli._database import Operator
    from romancy.windows.handle import WindowHandle
    from romancy.windows.looking import Window
    from romancy.windows.records import WindowStart

__all__ = ["WINDOWS"]

_CALL: Final = (
    click.argument("target", metavar="MODULE:APP"),
    click.argument("workflow", metavar="WORKFLOW"),
    click.argument("key", metavar="KEY"),
    click.argument("data", metavar="[JSON]", required=False),
    click.option("--id", "call_id", help="An id of yours for the call: the same call again has no effect."),
    click.option("--timeout", type=duration, help="Stop what is started if it has not ended this long after it began."),
    click.option("--priority", type=int, help="Of what is started, from -9 to 9."),
    click.option("--fair-key", help="On whose behalf it runs, as a tenant: of those that wait, the keys take turns."),
    click.option("--weight", type=int, help="From 1 to 100: how many turns the fair key has while another has one."),
    click.option("--started", is_flag=True, help="Wait for the start, and print its id."),
)


def _call(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the arguments and options of a call."""
    for each in reversed(_CALL):
        command = each(command)
    return command


@click.command()
@_call
@click.option("--wait", type=duration, required=True, help="Start once no call has come for so long.")
@click.option("--max-wait", type=duration, help="Start at the latest so long after the first call.")
@running
async def debounce(
    target: str,
    workflow: str,
    key: str,
    data: str | None,
    *,
    call_id: str | None,
    started: bool,
    wait: timedelta,
    max_wait: timedelta | None,
    **given: Any,
) -> None:
    """Start a workflow once calls for KEY rest, as the last said.

    Prints the id of the window that has the call. The input is as for `romancy start`; that of the last call is used.
    """
    made = load_app(target)
    refuse_private(made.url)
    async with made.as_client() as app:
        found = workflow_of(target, app.workflows, workflow)
        args, kwargs = arguments_of(found, data)
        call = found.options(**given).bind(*args, **kwargs)
        await _answer(await app.debounce(call, key, wait=wait, max_wait=max_wait, id=call_id), started=started)


@click.command()
@_call
@click.option("--size", type=int, required=True, help="Start once there are so many items.")
@click.option("--within", type=duration, required=True, help="Start at the latest so long after the first item.")
@running
async def batch(
    target: str,
    workflow: str,
    key: str,
    data: str | None,
    *,
    call_id: str | None,
    started: bool,
    size: int,
    within: timedelta,
    **given: Any,
) -> None:
    """Start a workflow with a list of what has come for KEY.

    Prints the id of the window that has the item. The workflow takes one list, and the input is an item of it, as JSON.
    """
    made = load_app(target)
    refuse_private(made.url)
    async with made.as_client() as app:
        found = workflow_of(target, app.workflows, workflow).options(**given)
        await _answer(
            await app.batch(found, item_of(found, data), key, size=size, within=within, id=call_id), started=started
        )


async def _answer(handle: WindowHandle[Any], *, started: bool) -> None:
    if not started:
        click.echo(handle.instance_id)
        return
    say(f"called {handle.instance_id}")
    click.echo((await handle.started()).instance_id)


@click.command()
@database
@click.argument("window_id", metavar="[ID]", required=False)
@click.option("--flush", "told", flag_value="flush", help="Close the window now: what its calls come to is started.")
@click.option("--drop", "told", flag_value="drop", help="Forget the calls of the window, and start nothing for them.")
@json_option
@running
async def windows(
    url: str | None, app: str | None, window_id: str | None, told: str | None, *, json_lines: bool
) -> None:
    """List the windows that have calls; show, flush or drop one."""
    if window_id is None and told is not None:
        raise click.UsageError("which window? Give its id")
    async with operating(url, app) as operator:
        if window_id is None:
            await _list(operator, json_lines=json_lines)
            return
        if told is not None:
            await _tell(operator, window_id, told)
            return
        found = await window_of(operator.store, window_id)
    if found is None:
        raise _unknown(window_id)
    _show(found, json_lines=json_lines)


async def _tell(operator: Operator, window_id: str, told: str) -> None:
    found = await operator.get_instance(window_id)
    if found is None or found.workflow_name != WINDOW:
        raise _unknown(window_id)
    order = Flush() if told == "flush" else Drop()
    there = await tell_window(operator, window_id, order)
    say(f"{window_id}: a worker carries it out" if there else f"{window_id}: it has ended, and has no calls")


def _unknown(window_id: str) -> InstanceNotFoundError:
    return InstanceNotFoundError(f"there is no window {window_id!r}; `romancy windows` lists those that have calls")


async def _list(operator: Operator, *, json_lines: bool) -> None:
    """Page by page: with JSON, each as soon as it was read."""
    found: list[Window] = []
    token: str | None = None
    more = True
    while more:
        page = await page_of_windows(operator, MAX_LIMIT, token)
        token, more = page.next_page_token, page.has_more
        if json_lines:
            for one in page.windows:
                as_json(_fields(one))
        else:
            found += page.windows
    if json_lines:
        return
    if found:
        rows = ((_utc(one.due), _utc(one.since), str(one.calls), one.instance_id) for one in found)
        table(("DUE (UTC)", "SINCE (UTC)", "CALLS", "WINDOW"), rows)
    else:
        say("no window has calls; `app.debounce(…)` and `app.batch(…)` make them")


def _show(one: Window, *, json_lines: bool) -> None:
    if json_lines:
        as_json(_fields(one) | {"starts": [_start(start) for start in one.starts]})
        return
    state = f"{many(one.calls, 'call')} since {_utc(one.since)}; due {_utc(one.due)}" if one.calls else "no calls"
    line(f"{one.instance_id}: {one.kind} of {one.workflow} for the key {one.key!r}; {state}")
    line(f"{many(one.started, 'start')} so far")
    if one.starts:
        table(
            ("TIME (UTC)", "CALLS", "ID"),
            ((_utc(start.at), str(start.calls), start.instance_id) for start in one.starts),
        )


def _start(start: WindowStart) -> dict[str, Any]:
    return {"instance_id": start.instance_id, "calls": start.calls, "at": start.at.isoformat()}


def _fields(one: Window) -> dict[str, Any]:
    return {
        "window_id": one.instance_id,
        "kind": one.kind,
        "workflow": one.workflow,
        "key": one.key,
        "calls": one.calls,
        "since": None if one.since is None else one.since.isoformat(),
        "due": None if one.due is None else one.due.isoformat(),
        "started": one.started,
    }


def _utc(moment: datetime | None) -> str:
    return "-" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S}"


WINDOWS = (debounce, batch, windows)
