"""Commands for events to the outside: `relay` sends them, `outbox` shows them and queues them again."""

from __future__ import annotations

import asyncio
import functools
import logging
import signal
import sys
from typing import TYPE_CHECKING, Any, Final

import click

from romancy.cli._apps import load_app
from romancy.cli._asking import confirm
from romancy.cli._database import database, operating, running
from romancy.cli._duration import duration
from romancy.cli._endings import NOT_FOUND
from romancy.cli._printing import as_json, json_option, say, table, time_of, wrapped
from romancy.cli._private import refuse_private
from romancy.engine import ToldToStop, coded, opened
from romancy.insight import ago, many, moment
from romancy.outbox.running import Relaying
from romancy.storage.backends import create_store
from romancy.storage.outbox import FINISHED, OutboxState, check_finished
from romancy.storage.url import parse_url

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence
    from datetime import timedelta

    from romancy.storage.outbox import Outbox, OutboxCounts, OutboxEntry

__all__ = ["RELAYING"]

_AT_ONCE: Final = 1000
_GIVEN_UP: Final = (OutboxState.FAILED, OutboxState.INVALID, OutboxState.EXPIRED)


class _UnknownEventError(click.ClickException):
    """Some IDs belong to no event."""

    exit_code = NOT_FOUND


@click.command()
@click.argument("target", metavar="MODULE:APP")
@click.option("--drain", type=duration, help="How long attempts have to end.  [default: 30s]")
@click.option("--quiet", is_flag=True, help="Log warnings only.")
def relay(target: str, drain: timedelta | None, quiet: bool) -> None:  # noqa: FBT001 - click gives it by name
    """Send published events, without a worker.

    It runs until SIGTERM or Ctrl-C. The app names the receiver by relay=Relay(…). Any number of relays may run, beside
    workers that relay as well. A second signal ends it at once; another relay repeats the events that it was sending.
    """
    level = logging.WARNING if quiet else logging.INFO
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx2").setLevel(logging.WARNING)  # its lines name the URL of each request
    asyncio.run(_relay(target, 30.0 if drain is None else drain.total_seconds()))


async def _relay(target: str, grace: float) -> None:
    app = load_app(target)
    if app.relay is None:
        raise click.UsageError(f"{target} has no relay: make it with Romancy(url, relay=Relay(sender))")
    refuse_private(app.url)
    where = str(parse_url(app.url))
    new = functools.partial(create_store, app.url, password=app.password)
    store = await opened(lambda: coded(new(), app.codecs), where, patient=True, within=app.connect_timeout)
    try:
        relaying = Relaying(app.relay, store.services.outbox)
        at_work = asyncio.create_task(relaying.run(lambda: grace))
        with ToldToStop() as told:
            say(f"relay sends events by {app.relay.sender!r}")
            stopping = asyncio.create_task(told.wait())
            await asyncio.wait({at_work, stopping}, return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        if not at_work.done():
            say(f"told to stop: attempts have {grace:g} s to end")
        relaying.stop()
        await at_work
    finally:
        await store.close()
    say("relay has stopped")


@click.command()
@database
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice([one.value for one in OutboxState]),
    help="Only these; may be repeated.",
)
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1), help="List at most so many.")
@click.option("--requeue", is_flag=True, help="Send again what failed, was invalid or expired, or was published.")
@click.option("--purge", is_flag=True, help="Remove published events, or those that --state names.")
@click.option("--older-than", type=duration, metavar="AGE", help="With --purge: what ended longer ago, as in 30d.")
@click.option("--yes", is_flag=True, help="Do not ask before --requeue and --purge act on many.")
@json_option
@running
async def outbox(
    url: str | None,
    app: str | None,
    ids: tuple[str, ...],
    states: tuple[str, ...],
    *,
    limit: int,
    requeue: bool,
    purge: bool,
    older_than: timedelta | None,
    yes: bool,
    json_lines: bool,
) -> None:
    """Events for the outside, and their states.

    Without options, it counts them; with --state, it lists them. --requeue sends the events with these IDs or states
    again: without either, the failed ones. An event keeps its id, by which its receivers recognise it.
    """
    _check(ids, requeue=requeue, purge=purge, older_than=older_than)
    chosen = tuple(OutboxState(one) for one in states)
    async with operating(url, app) as operator:
        box = operator.store.services.outbox
        if requeue:
            await _requeue(box, chosen, ids, yes=yes)
        elif purge:
            await _purge(box, chosen or (OutboxState.PUBLISHED,), older_than, yes=yes)
        elif chosen:
            await _list(box, chosen, limit, json_lines=json_lines)
        else:
            _print_counts(await box.counts(most=sys.maxsize), json_lines=json_lines)


def _check(ids: Sequence[str], *, requeue: bool, purge: bool, older_than: timedelta | None) -> None:
    if requeue and purge:
        raise click.UsageError("give --requeue or --purge, not both")
    if ids and not requeue:
        raise click.UsageError("IDs go with --requeue")
    if older_than is not None and not purge:
        raise click.UsageError("--older-than goes with --purge")


async def _requeue(box: Outbox, states: tuple[OutboxState, ...], ids: Sequence[str], *, yes: bool) -> None:
    chosen = states or (tuple(FINISHED) if ids else (OutboxState.FAILED,))
    check_finished(chosen)
    if ids:
        await _requeue_named(box, chosen, ids)
        return
    left = await _in_states(box, chosen)  # a relay may fail again at what is queued here
    if left and not yes:
        confirm(f"queue {many(left, 'event')} again?")
    count, more = 0, True
    while more and count < left:
        some = await box.requeue(chosen, limit=min(_AT_ONCE, left - count))
        count, more = count + some, some > 0
    say(f"{many(count, 'event')} queued again")


async def _requeue_named(box: Outbox, states: tuple[OutboxState, ...], ids: Sequence[str]) -> None:
    """Queue these again. Prints those that are in other states, and raises _UnknownEventError if some do not exist."""
    unique = list(dict.fromkeys(ids))
    left = [one for one in unique if not await box.requeue(states, outbox_ids=[one], limit=1)]
    unknown = dict.fromkeys(left)
    async for entry in _entries(box, (), sys.maxsize if unknown else 0):
        if entry.row.outbox_id in unknown:
            del unknown[entry.row.outbox_id]
            say(f"{entry.row.outbox_id} is {entry.state}, and was left alone")
            if not unknown:
                break
    say(f"{many(len(unique) - len(left), 'event')} queued again")
    if unknown:
        raise _UnknownEventError(f"there is no event {', '.join(map(repr, unknown))} in the outbox")


async def _in_states(box: Outbox, states: tuple[OutboxState, ...]) -> int:
    now = (await box.counts(most=sys.maxsize)).states
    return sum(now.get(state, 0) for state in states)


async def _purge(box: Outbox, states: tuple[OutboxState, ...], age: timedelta | None, *, yes: bool) -> None:
    check_finished(states)
    before = (
        (await box.counts(most=sys.maxsize)).now + 1 - (0 if age is None else round(age.total_seconds() * 1_000_000))
    )
    if not yes:
        await _ask_to_purge(box, states, None if age is None else before)
    count, more = 0, True
    while more:
        some = await box.purge(states, before, limit=_AT_ONCE)
        count, more = count + some, some == _AT_ONCE
    say(f"{many(count, 'event')} removed")


async def _ask_to_purge(box: Outbox, states: tuple[OutboxState, ...], before: int | None) -> None:
    if before is None:
        count = await _in_states(box, states)
    else:
        found = _entries(box, states, sys.maxsize)
        count = len([None async for entry in found if entry.ended_at is not None and entry.ended_at < before])
    lost = [str(one) for one in states if one is not OutboxState.PUBLISHED]
    about = f" (what is {' or '.join(lost)} has not reached its receiver)" if lost else ""
    if count:
        confirm(f"remove {many(count, 'event')}{about}?")


def _print_counts(counts: OutboxCounts, *, json_lines: bool) -> None:
    if json_lines:
        states = {str(state): counts.states.get(state, 0) for state in OutboxState}
        as_json({"states": states, "oldest_pending_at": time_of(counts.oldest)})
        return
    table(("STATE", "EVENTS"), [(str(state), str(counts.states.get(state, 0))) for state in OutboxState])
    if counts.oldest is not None:
        say(f"the oldest pending event was published {ago(counts.oldest, counts.now)}")
    given_up = sum(counts.states.get(state, 0) for state in _GIVEN_UP)
    if given_up:
        say("`romancy outbox --state failed` tells why (also invalid, expired); --requeue sends them again")


async def _list(box: Outbox, states: tuple[OutboxState, ...], limit: int, *, json_lines: bool) -> None:
    found = [entry async for entry in _entries(box, states, limit)]
    for entry in found if json_lines else ():
        as_json(_record(entry))
    for entry in () if json_lines else found:
        click.echo("\n".join(_lines(entry)))
    if not found:
        say("there is no such event")
    elif len(found) == limit:
        say(f"the oldest {limit}; --limit shows more")


async def _entries(box: Outbox, states: tuple[OutboxState, ...], limit: int) -> AsyncIterator[OutboxEntry]:
    after = (0, "")
    while limit > 0:
        page = await box.entries(states, after=after, limit=min(limit, _AT_ONCE))
        for entry in page:
            yield entry
        if len(page) < min(limit, _AT_ONCE):
            return
        limit -= len(page)
        after = (page[-1].at, page[-1].row.outbox_id)


def _lines(entry: OutboxEntry) -> Iterator[str]:
    row = entry.row
    yield row.outbox_id
    about = f"{entry.state} after {many(entry.attempts, 'attempt')}, {row.topic}, of {moment(entry.at)} UTC"
    key = "" if row.key is None else f", key {row.key}"
    sender = "" if row.instance_id is None else f", by {row.instance_id}"
    yield wrapped(about + key + sender, "    ", 2)
    if entry.error:
        yield wrapped(entry.error, "    ", 2)


def _record(entry: OutboxEntry) -> dict[str, Any]:
    row = entry.row
    return {
        "id": row.outbox_id,
        "type": row.topic,
        "key": row.key,
        "instance_id": row.instance_id,
        "state": str(entry.state),
        "attempts": entry.attempts,
        "error": entry.error,
        "published_at": time_of(entry.at),
        "next_at": time_of(entry.next_at),
        "ended_at": time_of(entry.ended_at),
    }


RELAYING = (relay, outbox)
