"""`limits`: lists limits, changes and pauses them, and gives places back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from romancy.cli._database import database, operating, running
from romancy.cli._printing import as_json, clean, json_option, say, table, wrapped

if TYPE_CHECKING:
    from romancy.managing.lanes import Lane

__all__ = ["limits"]


@click.command()
@database
@click.argument("name", metavar="[LIMIT]", required=False)
@click.option("--concurrency", type=click.IntRange(min=1), help="Let so many be inside at once, for every key.")
@click.option("--rate", nargs=2, type=(int, float), metavar="N SECONDS", help="Let so many begin in so many seconds.")
@click.option("--pause", is_flag=True, help="Give no more places until --resume.")
@click.option("--resume", is_flag=True, help="Give places again.")
@click.option("--reset", is_flag=True, help="Let what the code declares hold again.")
@click.option("--free", "instance_id", metavar="ID", help="Give back the places of this instance, which keeps running.")
@json_option
@running
async def limits(url: str | None, app: str | None, name: str | None, json_lines: bool, **told: Any) -> None:  # noqa: FBT001 - by name
    """List limits, or who is inside of one; change or pause it."""
    given = {option for option, value in told.items() if value is not None and value is not False}
    others = given - {"concurrency", "rate"}
    if len(others) > 1 or (others and others != given):
        raise click.UsageError("give --concurrency and --rate, or one of --pause, --resume, --reset and --free")
    if name is None and given - {"instance_id"}:
        raise click.UsageError("which limit? Give its name")
    async with operating(url, app) as operator:
        if not given:
            _list(await operator.limits(name), holders=name is not None, json_lines=json_lines)
        elif "instance_id" in given:
            freed = await operator.free_places(told["instance_id"])
            say(f"{told['instance_id']}: its places are given back: {', '.join(freed)}" if freed else "it has no place")
        elif name is not None:
            await _tell(operator, name, told, given)
            say(f"{name}: it holds from now on, for every key and whatever the code declares; --reset ends that")


async def _tell(operator: Any, name: str, told: dict[str, Any], given: set[str]) -> None:
    if "pause" in given:
        await operator.pause_limit(name)
    elif "resume" in given:
        await operator.resume_limit(name)
    elif "reset" in given:
        await operator.reset_limit(name)
    else:
        await operator.change_limit(name, concurrency=told["concurrency"], rate=told["rate"])


def _list(found: list[Lane], *, holders: bool, json_lines: bool) -> None:
    if json_lines:
        for one in found:
            as_json(_fields(one))
    elif found:
        rows = ((str(one.waiting), _taken(one), _since(one), _name(one), _terms(one)) for one in found)
        table(("WAITING", "INSIDE", "SINCE (UTC)", "LIMIT AND KEY", "ALLOWED"), rows)
        for one in found if holders else ():
            if one.holders:
                click.echo(wrapped(f"inside of {_name(one)}: {_holders(one)}", "  ", 2))
    else:
        say("nobody is inside of a limit, or waits for a place")


def _name(one: Lane) -> str:
    return f"{one.limit} {one.key}".strip()


def _holders(one: Lane) -> str:
    return ", ".join(map(clean, one.holders)) + (" and others" if one.taken > len(one.holders) else "")


def _taken(one: Lane) -> str:
    return str(one.taken) if one.concurrency is None else f"{one.taken}/{one.concurrency}"


def _since(one: Lane) -> str:
    return "-" if one.oldest is None else f"{one.oldest:%m-%d %H:%M:%S}"


def _terms(one: Lane) -> str:
    said = ["paused"] * one.paused
    if one.concurrency is not None:
        said.append(f"{one.concurrency} at once")
    if one.rate is not None:
        said.append(f"{one.rate[0]} in {one.rate[1]:g} s")
    return "chosen: " * one.chosen + ", ".join(said)


def _fields(one: Lane) -> dict[str, Any]:
    return {
        "limit": one.limit,
        "key": one.key,
        "waiting": one.waiting,
        "taken": one.taken,
        "oldest": None if one.oldest is None else one.oldest.isoformat(),
        "holders": list(one.holders),
        "concurrency": one.concurrency,
        "rate": None if one.rate is None else list(one.rate),
        "chosen": one.chosen,
        "paused": one.paused,
    }
