"""`top`: what is open, by workflow, the oldest first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from romancy.cli._database import database, operating, running
from romancy.cli._printing import as_json, json_option, say, table, time_of
from romancy.insight import many, span, suspects_of

if TYPE_CHECKING:
    from romancy.storage.figures import OpenWorkflow

__all__ = ["top"]


@click.command()
@database
@click.option("--most", type=click.IntRange(1), default=10_000, show_default=True, help="Count so many of each status.")
@json_option
@running
async def top(url: str | None, app: str | None, most: int, json_lines: bool) -> None:  # noqa: FBT001 - by name
    """What is open, by workflow, with the age of the oldest.

    Of each status the oldest instances are counted, at most as many as --most says. A number with + may be higher, and
    so may the age beside it. Instances that are suspected of ending workers are counted too.
    """
    async with operating(url, app) as operator:
        census = await operator.store.services.reading.census()
        found = await operator.store.services.figures.open_work(most=most)
    lines = found.by_workflow()
    for each in lines if json_lines else ():
        as_json(
            {
                "workflow": each.name,
                "open": each.number,
                "more": each.more,
                "oldest": time_of(each.oldest),
                "statuses": {str(status): number for status, number in each.statuses.items()},
            }
        )
    if not json_lines and lines:
        rows = (
            (f"{each.number:,}{'+' if each.more else ''}", span(census.now - each.oldest), _words(each), each.name)
            for each in lines
        )
        table(("OPEN", "OLDEST", "STATUSES", "WORKFLOW"), rows)
    if not lines:
        say("nothing is open")
    for status in sorted(found.more):
        say(f"{status}: only the oldest {many(most, 'instance')} were counted; there may be newer ones (--most)")
    if (suspects := suspects_of(census)).number:
        say(suspects.sentence)


def _words(each: OpenWorkflow) -> str:
    return ", ".join(f"{number:,} {status}" for status, number in each.statuses.items())
