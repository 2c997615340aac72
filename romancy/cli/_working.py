"""Commands that run code of the user's: `run` is a worker, `start` begins a workflow."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec
from msgspec import Raw

from romancy.checking import check_open
from romancy.cli._apps import load_app
from romancy.cli._database import desk, running
from romancy.cli._duration import DURATION
from romancy.cli._endings import DIVERGED
from romancy.cli._printing import as_json, json_option, line, say
from romancy.errors import SerializationError

if TYPE_CHECKING:
    from datetime import timedelta

    from romancy.checking import Check, Misfit
    from romancy.workflow import Workflow

__all__ = ["WORKING"]

_EACH: Final = 1000


@click.command()
@click.argument("target", metavar="MODULE:APP")
@click.option("--drain", type=DURATION, default="30s", show_default=True, help="How long activities have to end.")
@click.option("--quiet", is_flag=True, help="Log warnings only.")
@running
async def run(target: str, drain: timedelta, quiet: bool) -> None:  # noqa: FBT001 - by name
    """Run a worker until SIGTERM or Ctrl-C; then let activities end and give everything back."""
    level = logging.WARNING if quiet else logging.INFO
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    app = load_app(target)
    async with app:
        names = sorted(app.workflows)
        say(f"worker runs {len(names)} workflows: {', '.join(names) or 'none; the module declares none'}")
        await app.serve(drain_timeout=drain)
    say("worker has stopped")


@click.command()
@click.argument("target", metavar="MODULE:APP")
@click.argument("workflow", metavar="WORKFLOW")
@click.argument("data", metavar="[JSON]", required=False)
@click.option("--id", "instance_id", help="An instance id of yours: starting again gives the same instance.")
@click.option("--delay", type=DURATION, help="Do not begin before this time has passed.")
@click.option("--wait", is_flag=True, help="Wait for the end and print the result; exit code 1 if it fails.")
@running
async def start(
    target: str,
    workflow: str,
    data: str | None,
    instance_id: str | None,
    delay: timedelta | None,
    wait: bool,  # noqa: FBT001 - by name
) -> None:
    """Start a workflow; any worker goes on with it. Prints the instance's id, or with --wait the result.

    The input is the JSON of the only parameter, or an object of several.
    """
    async with load_app(target).as_client() as app:
        found = app.workflows.get(workflow)
        if found is None:
            known = ", ".join(sorted(app.workflows)) or "none"
            raise click.UsageError(f"{target} knows no workflow {workflow!r}; it knows {known}")
        args, kwargs = _arguments(found, data)
        handle = await app.start(found.options(instance_id=instance_id, delay=delay), *args, **kwargs)
        if not wait:
            click.echo(handle.instance_id)
            return
        say(f"started {handle.instance_id}")
        click.echo(msgspec.json.encode(await handle.result()).decode())


def _arguments(workflow: Workflow[..., Any], data: str | None) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if data is None and not workflow.signature.names:
        return (), {}
    try:
        given = Raw(b"{}" if data is None else msgspec.json.format(data.encode(), indent=-1))
        return workflow.signature.decode_arguments(given)
    except (SerializationError, msgspec.DecodeError) as error:
        raise click.UsageError(
            f"the input does not fit workflow {workflow.name}, which takes {workflow.signature.names}: {error}. "
            "Give the JSON of its only parameter, or an object of several, as in '{\"order\": 42}'"
        ) from None


@click.command()
@click.argument("target", metavar="MODULE:APP")
@click.option("--url", envvar="ROMANCY_URL", metavar="URL", help="Another database than the app's.")
@click.option("--workflow", metavar="NAME", help="By a part of the workflow's name.")
@json_option
@running
async def check(target: str, url: str | None, workflow: str | None, json_lines: bool) -> int:  # noqa: FBT001 - by name
    """Replay every open instance with this code, and tell which ones it does not fit; exit code 6 if there are any.

    Made for a deploy: nothing is written, no activity runs. Bodies of workflows run up to where their logs end.
    """
    app = load_app(target)
    async with desk(url or app.url, None, app.codecs) as open_desk:
        found = await check_open(open_desk.store, app.workflows, workflow_name=workflow, progress=_progress)
    for misfit in found.misfits:
        _print_misfit(misfit, json_lines=json_lines)
    say(f"{found.checked} open instances checked: {len(found.misfits)} do not fit this code")
    return 0 if found.fits else DIVERGED


def _progress(check: Check) -> None:
    if check.checked % _EACH == 0:
        say(f"{check.checked} checked, {len(check.misfits)} do not fit")


def _print_misfit(misfit: Misfit, *, json_lines: bool) -> None:
    if json_lines:
        as_json(
            {
                "instance_id": misfit.instance_id,
                "workflow": misfit.workflow_name,
                "status": str(misfit.status),
                "kind": misfit.kind,
                "report": misfit.report,
            }
        )
        return
    line(f"{misfit.instance_id}  {misfit.workflow_name}  {misfit.status}: {misfit.kind}")
    for text in misfit.report.splitlines():
        line(f"    {text}")


WORKING = (run, start, check)
