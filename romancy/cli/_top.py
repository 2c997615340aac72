"""`top`: what is open, by workflow, the oldest first, and what begins, ends and fails in a minute."""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import click

from romancy.cli._database import database, operating, running
from romancy.cli._duration import duration
from romancy.cli._printing import as_json, json_option, say, table
from romancy.insight import course, many, rate, span, suspects_of

if TYPE_CHECKING:
    from romancy.rates import Rates, WorkflowRates

__all__ = ["top"]

_SHORTEST: Final = timedelta(seconds=1)
_HEAD: Final = ("OPEN", "CHANGE", "DUE", "OLDEST", "BEGUN", "ENDED", "FAILED", "OVER TIME", "WORKFLOW")


@click.command()
@database
@click.option("--most", type=click.IntRange(1, 1_000_000), default=10_000, show_default=True, help="Count so many.")
@click.option("--over", type=duration, default="1h", show_default=True, help="The time until now for all but OPEN.")
@json_option
@running
async def top(url: str | None, app: str | None, *, most: int, over: timedelta, json_lines: bool) -> None:
    """What is open, by workflow, with its age and rates.

    DUE are those that wait for a worker. CHANGE is how many more are open than at the beginning of --over, and OVER
    TIME shows how many were open in its twelve parts. BEGUN, ENDED and FAILED are numbers a minute. Of each status the
    oldest instances are counted, and of begins and ends the newest, at most as many as --most says. A number with + may
    be higher, and so may the age beside it. Instances that are suspected of ending workers are counted too.
    """
    if over < _SHORTEST:
        raise click.BadParameter("the time must be at least a second, as in 15min", param_hint="--over")
    async with operating(url, app) as operator:
        rates = await operator.rates(over, most=most)
        suspects = suspects_of(await operator.store.services.reading.census())
    for each in rates.workflows if json_lines else ():
        as_json(_record(each))
    if not json_lines and rates.workflows:
        table(_HEAD, [_row(each, rates) for each in rates.workflows])
    if not rates.workflows:
        say("nothing is open")
    elif not json_lines:
        say(f"BEGUN, ENDED, FAILED: a minute's, of the last {span(round(over.total_seconds() * 1_000_000))}")
    if rates.partial:
        say(
            f"rates: the newest {many(most, 'begin')} and {many(most, 'end')} were counted: begins since "
            f"{rates.begun_since:%H:%M:%S}, ends since {rates.ended_since:%H:%M:%S} UTC (--most, --over)"
        )
    for status in rates.uncounted:
        say(f"{status}: only the oldest {many(most, 'instance')} were counted; there may be newer ones (--most)")
    if suspects.number:
        say(suspects.sentence)


def _row(each: WorkflowRates, rates: Rates) -> tuple[str, ...]:
    more = "+" if each.more else ""
    age = "-" if each.oldest is None else span(round((rates.until - each.oldest).total_seconds() * 1_000_000))
    return (
        f"{each.open:,}{more}",
        "-" if each.change is None else f"{each.change:+,}" if each.change else "0",
        f"{each.due:,}{more}",
        age,
        rate(each.begun),
        rate(each.ended),
        rate(each.failed),
        _printable(course(each)),
        each.workflow_name,
    )


def _printable(bars: str) -> str:
    """The bars, where the encoding of stdout has them."""
    try:
        bars.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return "-"
    return bars


def _record(each: WorkflowRates) -> dict[str, Any]:
    return {
        "workflow": each.workflow_name,
        "open": each.open,
        "more": each.more,
        "oldest": each.oldest,
        "statuses": {str(status): number for status, number in each.statuses.items()},
        "begun_a_minute": each.begun,
        "ended_a_minute": each.ended,
        "failed_a_minute": each.failed,
        "due": each.due,
        "change": each.change,
        "over_time": [{name: getattr(one, name) for name in one.__struct_fields__} for one in each.over_time],
    }
