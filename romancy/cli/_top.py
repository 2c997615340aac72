"""`top`: what is open, by workflow, the oldest first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from romancy.cli._database import database, operating, running
from romancy.cli._duration import duration
from romancy.cli._printing import as_json, json_option, say, table, time_of
from romancy.insight import Rates, many, span, suspects_of

if TYPE_CHECKING:
    from datetime import timedelta

    from romancy.storage.figures import OpenWorkflow

__all__ = ["top"]


@click.command()
@database
@click.option("--most", type=click.IntRange(1), default=10_000, show_default=True, help="Count so many of each status.")
@click.option("--over", type=duration, default="15min", show_default=True, help="The rates of this time until now.")
@json_option
@running
async def top(url: str | None, app: str | None, *, most: int, over: timedelta, json_lines: bool) -> None:
    """What is open, by workflow, with its age and rates.

    The rates, how many begin, end and fail in a minute, are those of the last --over; at most as many as --most says
    were counted. Of each status the oldest instances are counted, at most as many as --most says. A number with + may
    be higher, and so may the age beside it. Instances that are suspected of ending workers are counted too.
    """
    async with operating(url, app) as operator:
        census = await operator.store.services.reading.census()
        found = await operator.store.services.figures.open_work(most=most)
        since = census.now - max(round(over.total_seconds() * 1_000_000), 1)
        pace = await operator.store.services.figures.pace(since=since, most=most)
    rates = Rates(pace, over.total_seconds() / 60)
    lines = rates.with_quiet(found.by_workflow(), census.now)
    for each in lines if json_lines else ():
        as_json(
            {
                "workflow": each.name,
                "open": each.number,
                "more": each.more,
                "oldest": time_of(each.oldest),
                "statuses": {str(status): number for status, number in each.statuses.items()},
                "begun_a_minute": rates.begun(each.name),
                "ended_a_minute": rates.ended(each.name),
                "failed_a_minute": rates.failed(each.name),
            }
        )
    if not json_lines and lines:
        rows = (
            (
                f"{each.number:,}{'+' if each.more else ''}",
                span(census.now - each.oldest) if each.number else "-",
                f"{rates.begun(each.name):g}",
                f"{rates.ended(each.name):g}",
                f"{rates.failed(each.name):g}",
                _words(each) or "-",
                each.name,
            )
            for each in lines
        )
        table(("OPEN", "OLDEST", "BEGUN/MIN", "ENDED/MIN", "FAILED/MIN", "STATUSES", "WORKFLOW"), rows)
    if not lines:
        say("nothing is open")
    if pace.more:
        say(f"rates: only the newest {many(most, 'instance')} were counted: they are higher (--most, --over)")
    for status in sorted(found.more):
        say(f"{status}: only the oldest {many(most, 'instance')} were counted; there may be newer ones (--most)")
    if (suspects := suspects_of(census)).number:
        say(suspects.sentence)


def _words(each: OpenWorkflow) -> str:
    return ", ".join(f"{number:,} {status}" for status, number in each.statuses.items())
