"""Commands that run code of the user's: `run` is a worker, `start` begins a workflow."""

from __future__ import annotations

import asyncio
import logging
import signal
from typing import TYPE_CHECKING, Final, Unpack, get_args

import click
import msgspec

from romancy.built_in import with_built_in
from romancy.checking import check_open
from romancy.cli._apps import load_app
from romancy.cli._child import stop_with_parent
from romancy.cli._database import operating, running
from romancy.cli._duration import duration, time
from romancy.cli._endings import DIVERGED
from romancy.cli._filter_options import filters_to_act
from romancy.cli._inputs import arguments_of, workflow_of
from romancy.cli._printing import as_json, json_option, line, say
from romancy.cli._private import PRIVATE, is_private, refuse_private
from romancy.cli._reloading import run_and_reload
from romancy.insight import many
from romancy.starting.checks import IfExists
from romancy.starting.skipping import refuse_if_skipped

if TYPE_CHECKING:
    from datetime import timedelta

    from romancy._start_options import StartKeywords
    from romancy.checking import Check, Misfit
    from romancy.query import InstanceFilter

__all__ = ["WORKING", "at_work"]

_EACH: Final = 1000


@click.command("run")
@click.argument("target", metavar="MODULE:APP")
@click.option("--drain", type=duration, help="How long activities have to end.  [default: 30s, with --reload 1s]")
@click.option("--only", metavar="NAMES", help="Take instances of these workflows only: order,ship.")
@click.option("--activities", type=click.IntRange(1), metavar="N", help="Run up to N activities at once.")
@click.option("--quiet", is_flag=True, help="Log warnings only.")
@click.option(
    "--reload", is_flag=True, help="For development: start again when a Python file below this folder changes."
)
@click.option("--reloaded", is_flag=True, hidden=True, help="Be the worker of --reload.")
def run(
    target: str,
    *,
    drain: timedelta | None,
    only: str | None,
    activities: int | None,
    quiet: bool,
    reload: bool,
    reloaded: bool,
) -> None:
    """Run a worker until SIGTERM or Ctrl-C.

    Then it lets activities end and releases its instances. A second signal ends it at once; other workers take over its
    instances. An app that was made with worker=False gets a worker all the same.
    """
    grace = (1.0 if reload else 30.0) if drain is None else drain.total_seconds()
    if reload:
        share = [*(["--only", only] if only else []), *(["--activities", str(activities)] if activities else [])]
        said = [*share, *(["--quiet"] if quiet else [])]
        run_and_reload(["run", target, "--drain", f"{grace}s", "--reloaded", *said], grace)
        return
    if reloaded:
        stop_with_parent()
    level = logging.WARNING if quiet else logging.INFO
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    names = None if only is None else [name.strip() for name in only.split(",") if name.strip()]
    asyncio.run(_work(target, grace, names, activities))


async def _work(target: str, grace: float, only: list[str] | None, activities: int | None) -> None:
    async with load_app(target).with_worker(only=only, max_activities=activities) as app:
        with app._until_told() as told:  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - as serve() does
            say(at_work(target, sorted(app.workflows)))
            if is_private(app.url):
                say(f"{PRIVATE}: no other command and no other app can reach this worker; `romancy dev` shows it")
            await told.wait()
        # An exception would close the app in a loop whose tasks are all cancelled, which takes long.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        say(f"told to stop: activities have {grace:g} s to end; a second Ctrl-C ends the worker at once")
        await app.drain(grace)
    say("worker has stopped")


def at_work(target: str, names: list[str]) -> str:
    """The lines that a worker of this app prints when it begins."""
    if names:
        return f"worker runs {many(len(names), 'workflow')}: {', '.join(names)}"
    return (
        f"{target} knows no workflow, so this worker has nothing to do. Declare one with @workflow in that "
        "module, or import the module that does; an app that was made with workflows=[…] knows those alone"
    )


@click.command()
@click.argument("target", metavar="MODULE:APP")
@click.argument("workflow", metavar="WORKFLOW")
@click.argument("data", metavar="[JSON]", required=False)
@click.option("--id", "instance_id", help="An instance id of yours: starting again gives the same instance.")
@click.option(
    "--if-exists",
    type=click.Choice(get_args(IfExists)),
    default="return",
    help="What to do where the id is taken: give that instance, if its input is the same; exit with code 4; or put the "
    "new one in its place, if it has ended at all, or failed or was cancelled, or also if it is open (terminated "
    "first).",
)
@click.option("--delay", type=duration, help="Do not begin before this time has passed.")
@click.option("--at", type=time, help="Do not begin before this time, in UTC without an offset.")
@click.option("--timeout", type=duration, help="Stop the instance if it has not ended this long after it began.")
@click.option(
    "--priority", type=int, help="From -9 to 9: the higher is taken first, and gets places under limits first."
)
@click.option("--fair-key", help="On whose behalf it runs, as a tenant: of those that wait, the keys take turns.")
@click.option("--weight", type=int, help="From 1 to 100: how many turns the fair key has while another has one.")
@click.option(
    "--wait", "until", flag_value="end", help="Wait for the end and print the result; exit code 1 if it fails."
)
@click.option(
    "--undecided", "until", flag_value="written", help="Do not wait for whether a limit has it skipped (exit code 7)."
)
@running
async def start(
    target: str,
    workflow: str,
    data: str | None,
    *,
    if_exists: IfExists,
    until: str | None,
    **given: Unpack[StartKeywords],
) -> None:
    """Start a workflow; any worker continues it. Prints the instance's id, or with --wait the result.

    The input is a JSON object of the parameters by name. If there is only one parameter, or all others have defaults,
    the JSON of the first one alone will do.
    """
    made = load_app(target)
    refuse_private(made.url)
    async with made.as_client() as app:
        found = workflow_of(target, app.workflows, workflow)
        args, kwargs = arguments_of(found, data)
        options = found.options(**given)
        call = options.bind(*args, **kwargs)
        (handle,) = await app.start_many([call], if_exists=if_exists)
        if options.skips and until != "written":
            await refuse_if_skipped(app._access.opened("start"), options, handle.instance_id)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - as the app waits
        if until != "end":
            click.echo(handle.instance_id)
            return
        say(f"started {handle.instance_id}")
        click.echo(msgspec.json.encode(await handle.result()).decode())


@click.command()
@click.argument("target", metavar="MODULE:APP")
@click.option("--url", envvar="ROMANCY_URL", metavar="URL", help="Another database than the app's.")
@filters_to_act
@json_option
@running
async def check(*, target: str, url: str | None, chosen: InstanceFilter, json_lines: bool) -> int:
    """List the open instances that do not fit this code.

    It replays each open instance with this code; exit code 6 if some do not fit. Made for a deployment: nothing is
    written and no activity runs. The bodies of workflows run up to the end of their logs.
    """
    app = load_app(target)
    async with operating(url, app) as operator:
        found = await check_open(operator.store, with_built_in(app.workflows), chosen, progress=_progress)
    for misfit in found.misfits:
        _print_misfit(misfit, json_lines=json_lines)
    named = f" of release {app.release}" if app.release else ""
    say(f"{many(found.checked, 'open instance')} checked: {_misfits(found)} this code{named}")
    return 0 if found.fits else DIVERGED


def _progress(check: Check) -> None:
    if check.checked % _EACH == 0:
        say(f"{check.checked} checked, {_misfits(check)}")


def _misfits(check: Check) -> str:
    return f"{len(check.misfits)} {'does' if len(check.misfits) == 1 else 'do'} not fit"


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
