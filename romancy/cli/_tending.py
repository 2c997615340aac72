"""Commands for the database itself: `migrate` and `doctor`."""

from __future__ import annotations

import platform
import time
from contextlib import suppress
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

import click

from romancy.cli._database import running
from romancy.cli._endings import FAILED
from romancy.cli._printing import as_json, json_option, line, say, wrapped
from romancy.cli._private import refuse_private
from romancy.cli._workers import state_of
from romancy.engine import opened
from romancy.errors import SchemaVersionError
from romancy.insight import ago, alive, growing, many, one_holds_all, span, suspects_of
from romancy.managing.rates import rates_of
from romancy.rebuilding import sample_of
from romancy.storage.backends import create_store
from romancy.storage.services import Service
from romancy.storage.upkeep import Setting
from romancy.storage.url import parse_url

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from romancy.rebuilding import Sample
    from romancy.storage.protocol import Store
    from romancy.storage.records import Census
    from romancy.storage.upkeep import Plan

__all__ = ["TENDING"]

_SECOND: Final = 1_000_000
_SKEW: Final = _SECOND
_HOUR: Final = 3_600_000_000
_COUNTED: Final = 10_000
_LOOKS: Final = 5
_SLOW: Final = 0.05
"""Seconds: a database that takes longer to tell of its workers is slow."""
_WORDS: Final = {"ok": "ok", "note": "note", "problem": "PROBLEM"}
_url = click.option("--url", envvar="ROMANCY_URL", metavar="URL", required=True, show_envvar=True, help="The database.")


@click.command()
@_url
@click.option("--plan", is_flag=True, help="Only list the migrations that are missing.")
@click.option("--sql", is_flag=True, help="Only print the SQL of what is missing, for a DBA to run.")
@json_option
@running
async def migrate(url: str, plan: bool, sql: bool, json_lines: bool) -> None:  # noqa: FBT001 - click gives them by name
    """Make the tables, or bring them up to date.

    Any number of processes may do so at once. With --plan or --sql nothing is written. Once the SQL was run, the tables
    are up to date.
    """
    refuse_private(url)
    store = create_store(url)
    if plan or sql:
        if plan and sql:
            raise click.UsageError("give --plan or --sql, not both")
        _print_plan(await _planned(store), as_sql=sql, json_lines=json_lines)
        return
    await opened(lambda: store, str(parse_url(url)), patient=False)
    try:
        say(f"{store.capabilities.name}: {_fitting(await _plan_of(store))}")
    finally:
        await store.close()


async def _planned(store: Store) -> Plan:
    plan = await _plan_of(store)
    if plan is None:
        raise click.UsageError("the adapter of this database cannot tell what it would do; `romancy migrate` does it")
    return plan


async def _plan_of(store: Store) -> Plan | None:
    return await store.services.upkeep.plan() if Service.UPKEEP in store.services.offered else None


def _print_plan(plan: Plan, *, as_sql: bool, json_lines: bool) -> None:
    if json_lines:
        as_json({"steps": [*plan.steps], "sql": plan.sql, "additive": [*plan.additive], "unknown": [*plan.unknown]})
    elif as_sql:
        click.echo(plan.sql, nl=False)
    else:
        for step in plan.steps:
            line(step if plan.fresh else f"{step}  {'not additive' if step in plan.stopping else 'additive'}")
    if not plan.steps:
        say(f"nothing to do: {_fitting(plan)}")
        return
    if not as_sql:
        say(f"{many(len(plan.steps), 'step')} to do; `romancy migrate` does them, --sql prints their SQL")
    if not plan.fresh:
        say(_meanwhile(plan))


def _fitting(plan: Plan | None) -> str:
    """What to say of a schema that this code can use."""
    if plan is None or not plan.unknown:
        return "the schema is up to date"
    return (
        f"the schema is newer than this version of Romancy, which may continue on it (it has {', '.join(plan.unknown)})"
    )


def _meanwhile(plan: Plan) -> str:
    """What older workers may do once this plan is carried out."""
    if plan.stopping:
        return f"stop older workers first: they may not continue after {plan.stopping[0]}"
    return "older workers may continue, and may be restarted"


@click.command()
@_url
@json_option
@running
async def doctor(url: str, json_lines: bool) -> int:  # noqa: FBT001 - click gives it by name
    """Check whether the database can be reached and used.

    Exit code 1 if something is wrong. It reports versions, the schema and what is pending of it, settings that cost
    durability or speed, the difference of the clocks, whether the database answers within 50 ms, workers that are
    silent or dead, instances that are suspected of ending workers, queues that grew in the last hour, a worker that
    holds nearly everything, and whether a sample of the instances has its rows and its index. Nothing is written.
    """
    refuse_private(url)
    store = create_store(url)
    problems = 0
    async for found in _examined(store, str(parse_url(url))):
        problems += found.verdict == "problem"
        if json_lines:
            as_json(
                {"name": found.name, "value": found.value, "verdict": found.verdict, "advice": found.advice or None}
            )
        else:
            advice = f": {found.advice}" if found.advice else ""
            click.echo(wrapped(f"{_WORDS[found.verdict]:<8} {found.name} {found.value}{advice}", hanging=9))
    return FAILED if problems else 0


async def _examined(store: Store, where: str) -> AsyncIterator[Setting]:
    yield Setting(name="romancy", value=f"{version('romancy')} on Python {platform.python_version()}")
    try:
        await opened(lambda: store, where, patient=False, migrate=False)
    except SchemaVersionError as error:
        yield await _misfit(store, error)
        return
    try:
        yield Setting(name="reached", value=f"{store.capabilities.name}; {_fitting(await _plan_of(store))}")
        before = time.time_ns() // 1000
        census = await store.services.reading.census()
        skew = census.now - (before + time.time_ns() // 1000) // 2
        took = await _look(store)
        settings = await store.services.upkeep.settings() if Service.UPKEEP in store.services.offered else []
        sample = await sample_of(store)
        burdens = [found async for found in _burdens(store, census)]
    finally:
        await store.close()
    for found in (*settings, _clock(skew), _speed(took), *_workers(census), *burdens, *_sampled(sample)):
        yield found


async def _misfit(store: Store, error: SchemaVersionError) -> Setting:
    """A schema that this code cannot use: what is pending, if that would help, and what becomes of older workers."""
    value, advice = "does not fit", str(error)
    with suppress(SchemaVersionError):
        plan = await _plan_of(store)
        if plan is not None and plan.steps and not plan.fresh:
            value = f"lacks {many(len(plan.steps), 'step')} ({', '.join(plan.steps)})"
            advice = f"{error}; {_meanwhile(plan)}"
    return Setting(name="schema", value=value, verdict="problem", advice=advice)


def _sampled(sample: Sample | None) -> Iterator[Setting]:
    """Whether instances have their rows and their index."""
    if sample is None:
        return
    wrong = sample.lost + sample.differing
    value = f"a sample of {many(sample.looked_at, 'instance')}: {'each' if not wrong else f'all but {wrong}'} as logged"
    advice = (
        f"{sample.lost} without a row, {sample.differing} with a wrong index; "
        "`romancy rebuild MODULE:APP` makes them again from the logs"
    )
    yield Setting.judged("rows and index", value, good=not wrong, otherwise="problem", advice=advice)


async def _burdens(store: Store, census: Census) -> AsyncIterator[Setting]:
    """Queues that grow, and a worker that holds nearly everything."""
    if Service.FIGURES not in store.services.offered:
        return
    for sentence in growing(await rates_of(store, _HOUR, _COUNTED)):
        advice = "more begin than end: start more workers, or see what holds them up with `romancy top` and `why`"
        yield Setting(name="queue of the last hour", value=sentence, verdict="note", advice=advice)
    living = [peer for peer in alive(census) if peer.works]
    loads = await store.services.figures.loads([peer.token for peer in living], most=_COUNTED)
    if sentence := one_holds_all(loads, [(peer.token, peer.worker_id) for peer in living]):
        advice = "the others know other workflows, or have no room; `romancy workers` lists what each knows"
        yield Setting(name="one worker", value=sentence, verdict="note", advice=advice)


async def _look(store: Store) -> float:
    """The seconds of a short look at the database: the middle one of several, on a connection that is there."""
    took: list[float] = []
    for _ in range(_LOOKS):
        before = time.perf_counter()
        await store.services.reading.census()
        took.append(time.perf_counter() - before)
    return sorted(took)[_LOOKS // 2]


def _speed(took: float) -> Setting:
    advice = (
        f"more than {span(round(_SLOW * _SECOND))}, and a step takes at least as long: run workers near the database, "
        "or see what else loads it"
    )
    return Setting.judged("answers", f"in {took * 1000:.1f} ms", good=took <= _SLOW, otherwise="note", advice=advice)


def _clock(skew: int) -> Setting:
    if abs(skew) < _SKEW:
        return Setting(name="clock", value=f"differs from this machine's by {span(skew)}")
    return Setting(
        name="clock",
        value=f"differs from this machine's by {span(skew)}",
        verdict="problem",
        advice="timers go by the database's clock; let both follow a time server",
    )


def _workers(census: Census) -> Iterator[Setting]:
    registered = [peer for peer in census.workers if peer.works]
    silent = [peer for peer in registered if state_of(peer, census.now) != "alive"]
    alive = len(registered) - len(silent)
    told = f"{alive} alive"
    if alive:
        yield Setting(name="workers", value=told)
    else:
        advice = "nothing runs; start one with `romancy run MODULE:APP`"
        yield Setting(name="workers", value=told, verdict="problem", advice=advice)
    for peer in silent:
        yield Setting(
            name="worker",
            value=f"{peer.worker_id} is {state_of(peer, census.now)}",
            verdict="problem",
            advice=f"last beat {ago(peer.beat_at, census.now)}; another worker takes over what it had",
        )
    if (suspects := suspects_of(census)).number:
        yield Setting(name="suspects", value=str(suspects.number), verdict="note", advice=suspects.sentence)


TENDING = (migrate, doctor)
