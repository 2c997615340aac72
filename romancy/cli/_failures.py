"""`failures`: lists what has failed by its causes, and silences a group."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import click

from romancy.cli._database import database, operating, running
from romancy.cli._printing import as_json, json_option, say, table

if TYPE_CHECKING:
    from romancy.failure import FailureGroup, FailureGroups

__all__ = ["failures"]


@click.command()
@database
@click.option("--workflow", "workflow_name", metavar="NAME", help="Only failures of this workflow, by its whole name.")
@click.option("--all", "everything", is_flag=True, help="Also the groups that are silenced.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="How many groups at most.")
@click.option("--silence", metavar="GROUP", help="Leave this group out of the list from now on.")
@click.option("--reason", default="", help="Why it is silenced.")
@click.option("--unsilence", metavar="GROUP", help="List this group again.")
@json_option
@running
async def failures(
    url: str | None,
    app: str | None,
    *,
    workflow_name: str | None,
    everything: bool,
    limit: int,
    silence: str | None,
    reason: str,
    unsilence: str | None,
    json_lines: bool,
) -> None:
    """List failures by their causes, and silence one.

    A line has how many there are, since when, when the last one failed, and in which release. `romancy list --error
    GROUP` lists the instances of a group, and `romancy retry --error GROUP` retries them.
    """
    if silence is not None and unsilence is not None:
        raise click.UsageError("give --silence or --unsilence, not both")
    if reason and silence is None:
        raise click.UsageError("--reason is for --silence")
    async with operating(url, app) as operator:
        if silence is not None:
            await operator.silence_failures(silence, reason)
            say(f"{silence}: silenced; --unsilence {silence} ends that")
        elif unsilence is not None:
            await operator.unsilence_failures(unsilence)
            say(f"{unsilence}: it is listed again")
        else:
            _list(await operator.failures(workflow_name, silenced=everything, limit=limit), json_lines=json_lines)


def _list(found: FailureGroups, *, json_lines: bool) -> None:
    if json_lines:
        for one in found.groups:
            as_json({name: _plain(getattr(one, name)) for name in one.__struct_fields__})
    elif found.groups:
        head = ("NUMBER", "SINCE (UTC)", "LAST (UTC)", "RELEASE", "GROUP", "WORKFLOW", "FAILURE")
        table(head, map(_row, found.groups))
    else:
        say("nothing has failed")
    if found.more:
        say(f"of the newest {found.looked_at:,} failures; there may be older ones, or further groups")


def _row(one: FailureGroup) -> tuple[str, ...]:
    between = {one.first_release: None, one.last_release: None}
    where = f"{one.activity}: " if one.activity else ""
    silenced = " (silenced)" * one.silenced
    return (
        f"{one.number:,}",
        f"{one.since:%Y-%m-%d %H:%M:%S}",
        f"{one.last_seen:%Y-%m-%d %H:%M:%S}",
        " … ".join(between) or "-",
        one.group,
        one.workflow_name,
        f"{where}{one.error_type}{f': {one.text}' if one.text else ''}{silenced}",
    )


def _plain(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else value
