"""`ask` lists what workflows ask people, answers it, and refuses to."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from romancy.cli._database import database, operating, running
from romancy.cli._first_argument import Commands
from romancy.cli._printing import as_json, json_option, say, table
from romancy.cli._requesting import decoded

if TYPE_CHECKING:
    from romancy.question import Question

__all__ = ["ask"]

_AT_ONCE = 200


@click.group(cls=Commands)
def ask() -> None:
    """List what workflows ask people, answer it, or refuse to."""


@ask.command("list")
@database
@click.option("--to", help="Only what is asked of this person or group.")
@click.option("--workflow", "workflow_name", help="Only what this workflow asks.")
@click.option("--instance", "instance_id", help="Only what this instance asks.")
@click.option("--limit", type=click.IntRange(1), default=1000, show_default=True, help="How many at most.")
@json_option
@running
async def list_(url: str | None, app: str | None, *, limit: int, json_lines: bool, **chosen: Any) -> None:
    """List the open questions, with the tokens that answer them. Whoever has a token can answer."""
    found: list[Question] = []
    cursor: str | None = None
    more = True
    async with operating(url, app) as operator:
        while more and len(found) < limit:
            page = await operator.questions(**chosen, cursor=cursor, limit=min(_AT_ONCE, limit - len(found)))
            found += page.questions
            cursor, more = page.next_cursor, page.next_cursor is not None
    if json_lines:
        for one in found:
            as_json({name: _plain(getattr(one, name)) for name in one.__struct_fields__})
    elif found:
        rows = ((_utc(one.since), _utc(one.due), one.to or "-", one.name, _line(one), one.token) for one in found)
        table(("SINCE (UTC)", "DUE (UTC)", "TO", "NAME", "QUESTION", "TOKEN"), rows)
    else:
        say("no workflow asks anything")
    if more and cursor is not None:
        say("there are more; --limit shows them")


@ask.command()
@database
@click.argument("token", metavar="TOKEN")
@click.argument("data", metavar="JSON")
@click.option("--by", help="Who answers, as the log has it.")
@running
async def answer(url: str | None, app: str | None, token: str, data: str, *, by: str | None) -> None:
    """Answer a question, with JSON: `true`, or an object. The first answer counts."""
    async with operating(url, app) as operator:
        await operator.answer(token, decoded(data), by=by)
    say("answered")


@ask.command()
@database
@click.argument("token", metavar="TOKEN")
@click.argument("reason", metavar="[REASON]", default="")
@click.option("--by", help="Who refuses, as the log has it.")
@running
async def refuse(url: str | None, app: str | None, token: str, reason: str, *, by: str | None) -> None:
    """Refuse to answer a question: the workflow gets an error with the reason."""
    async with operating(url, app) as operator:
        await operator.refuse(token, reason, by=by)
    say("refused")


def _line(one: Question) -> str:
    if one.sealed:
        return "(sealed)"
    first = one.question.strip().partition("\n")[0]
    return f"{first} (the last answer did not fit)" if one.misfit else first


def _plain(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else value


def _utc(moment: datetime | None) -> str:
    return "-" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S}"
