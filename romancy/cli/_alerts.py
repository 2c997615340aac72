"""The command `alerts`: tells a webhook or a command when workflows need a person."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

import click

from romancy.alerting.conditions import Thresholds, conditions_of
from romancy.alerting.keeper import KEEPER, telling_of_the_process
from romancy.alerting.telling import ByCommand, ByWebhook
from romancy.alerting.watching import Watch
from romancy.app import Romancy
from romancy.cli._apps import load_app
from romancy.cli._database import database, operating, running
from romancy.cli._duration import duration
from romancy.cli._printing import as_json, json_option, say
from romancy.cli._private import refuse_private
from romancy.engine import ToldToStop
from romancy.errors import UsageError
from romancy.serialization import NO_CODECS

if TYPE_CHECKING:
    from datetime import timedelta

    from romancy.alerting.telling import Telling
    from romancy.storage.protocol import Store

__all__ = ["AlertApp", "alerts"]

_DEFAULTS: Final = Thresholds()
_DRAIN: Final = 30.0
_OFTEN: Final = 1.0


class AlertApp(Romancy):
    """An app for alerts alone: workers of the user's apps keep the schedules."""

    _keeps_schedules = False

    @property
    def store(self) -> Store:
        """The open store."""
        return self._access.opened()


@click.command()
@database
@click.option("--webhook", metavar="URL", envvar="ROMANCY_ALERTS_WEBHOOK", help="Post to this address, as JSON.")
@click.option("--run", "command", metavar="COMMAND", help="Run this, with JSON on its standard input.")
@click.option("--link", metavar="URL", help="The address of the dashboard, for links.")
@click.option("--every", type=duration, default="60s", show_default=True, help="How often to look.")
@click.option("--waiting", type=duration, default="5min", show_default=True, help="So long may something wait.")
@click.option("--failures", type=click.IntRange(1), default=5, show_default=True, help="So many failures count.")
@click.option("--now", is_flag=True, help="Print what holds now, tell nobody, and end: with 1 if anything does.")
@json_option
@running
async def alerts(
    url: str | None,
    app: str | None,
    *,
    webhook: str | None,
    command: str | None,
    link: str | None,
    every: timedelta,
    waiting: timedelta,
    failures: int,
    now: bool,
    json_lines: bool,
) -> None:
    """Tell somebody when workflows need a person.

    Until SIGTERM or Ctrl-C, it tells when something is stuck, when more of a workflow fails than usual, when something
    has waited for a worker for too long, and when no worker is alive: each once, and once more when it is over. What
    was told is kept in the database, so any number of these may run.
    """
    thresholds = Thresholds(waiting=waiting.total_seconds(), failures=failures)
    if now:
        await _print(url, app, thresholds, json_lines=json_lines)
        return
    if every.total_seconds() < _OFTEN:
        raise click.UsageError("--every: look once a second at most")
    telling = _telling(webhook, command, link)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx2").setLevel(logging.WARNING)  # its lines name the URL of each request
    loaded = None if app is None else load_app(app)
    where = url or (None if loaded is None else loaded.url)
    if where is None:
        raise click.UsageError("which database? Give --url URL, set ROMANCY_URL, or give --app MODULE:APP")
    refuse_private(where)
    watched = AlertApp(
        where,
        workflows=[KEEPER],
        codecs=NO_CODECS if loaded is None else loaded.codecs,
        password=None if loaded is None or where != loaded.url else loaded.password,
        migrate=False,
        check_at_start=False,
        keep_undelivered=None,  # the user's app decides how long messages are kept
    )
    async with watched:
        with watched.override(telling_of_the_process, lambda: telling), ToldToStop() as told:
            watching = asyncio.create_task(Watch(watched, thresholds, every.total_seconds()).run())
            stopping = asyncio.create_task(told.wait())
            say(f"alerts looks every {every.total_seconds():g} s")
            await asyncio.wait({watching, stopping}, return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            if not watching.cancel():
                await watching
            await watched.drain(_DRAIN)
    say("alerts has stopped")


def _telling(webhook: str | None, command: str | None, link: str | None) -> Telling:
    if (webhook is None) == (command is None):
        raise click.UsageError("whom to tell? Give --webhook URL or --run COMMAND; --now only prints")
    try:
        return ByWebhook(webhook, link) if webhook is not None else ByCommand(command or "", link)
    except UsageError as error:
        raise click.UsageError(f"--webhook: {error}") from None


async def _print(url: str | None, app: str | None, thresholds: Thresholds, *, json_lines: bool) -> None:
    async with operating(url, app) as operator:
        found = await conditions_of(operator.store, thresholds)
    for each in found.conditions:
        if json_lines:
            as_json({"key": each.key, "text": each.text})
        else:
            click.echo(each.text)
    if found.conditions:
        raise click.exceptions.Exit(1)
    say("nothing needs a person")
