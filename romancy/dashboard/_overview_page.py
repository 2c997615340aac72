"""The overview: counts of instances, instances that need attention, workers, and messages that wait to be sent."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

from romancy.dashboard._gone import unless_gone
from romancy.dashboard._instances_page import lines_of
from romancy.dashboard._over_time import OverTime, Spans, over_time, spans_of
from romancy.dashboard._pages import render
from romancy.dashboard._pausing import PAUSES
from romancy.dashboard._ranges import RANGES, USUAL
from romancy.engine import draining_in, names_in
from romancy.errors import QueryError
from romancy.insight import Suspects, rate, silent, suspects_of
from romancy.managing.failures import failures_of
from romancy.managing.rates import SPANS, rates_from
from romancy.status import TERMINAL_STATUSES, Status
from romancy.storage.figures import Count, OpenWork, Trend
from romancy.storage.notices import notices_in
from romancy.storage.query import build_query
from romancy.storage.routing import Spread
from romancy.storage.services import Service

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from romancy.dashboard._live import Question
    from romancy.dashboard._reader import Reader
    from romancy.dashboard._rollups import Rollup, Rollups
    from romancy.failure import FailureGroups
    from romancy.rates import Rates
    from romancy.storage.figures import Figures, Pace
    from romancy.storage.notices import Notice
    from romancy.storage.outbox import OutboxCounts
    from romancy.storage.protocol import Store
    from romancy.storage.records import Census, InstanceRow, Peer
    from romancy.storage.routing import KeptMessage

__all__ = ["EVERY", "MOST", "OLDEST", "overview_page", "overview_question"]

MOST: Final = 10_000
"""Present counts are exact up to this number, and where there are no more instances, those by workflow too."""
OLDEST: Final = 1_000
"""Of each open status, this many of the oldest instances are counted by workflow, as many of the newest begins and
ends, and as many of the newest instances where there are too many. Each is a row of the table."""
EVERY: Final = 10.0
"""Seconds between two looks for open overviews: each takes several statements."""
_SPAN: Final = 300_000_000
"""The microseconds of a twelfth of an hour. An open overview shows its rates again when one is over."""
_SHOWN: Final = 5
_CAUSES: Final = 5
_KEPT: Final = 500
_ORDER: Final = (
    Status.STUCK, Status.FAILED, Status.RUNNING, Status.WAITING, Status.PAUSED, Status.PENDING, Status.CANCELLING,
    Status.COMPENSATING, Status.CANCELLED, Status.COMPLETED,
)  # fmt: skip


class Tile(NamedTuple):
    """A status, with how many have it."""

    status: Status
    number: int
    more: bool
    """Whether there are more than were counted."""
    rolled: bool
    """Whether the number comes from the rollup."""
    oldest: int | None
    """The oldest start, for statuses that are open."""


class Flow(NamedTuple):
    """A workflow among the newest instances, or among all in the rollup."""

    name: str
    parts: list[tuple[Status, int]]
    total: int
    failure: float | None
    """The share of the failed among the ended; None if none has ended."""


class Present(NamedTuple):
    """How many instances there are."""

    statuses: dict[Status, Count]
    newest: dict[tuple[str, Status, int], int]
    """The newest instances by workflow, status and span; none if a rollup has counted all."""
    rollup: Rollup | None
    many: bool
    """Whether there are more instances than a present count covers."""


class Kept(NamedTuple):
    """Messages that no workflow has received."""

    number: int
    more: bool
    oldest: int | None


class Overview(NamedTuple):
    """The content of the page."""

    tiles: list[Tile]
    flows: list[Flow]
    counted: int
    """The number of instances among which the workflows were counted."""
    rollup: Rollup | None
    """All instances as they were counted a while ago, where there are too many for this moment."""
    open: OpenWork
    """What is open by workflow."""
    failures: FailureGroups | None
    """The causes of failures that were seen last. None: the database groups none."""
    needy: list[InstanceRow]
    """Instances that need attention: stuck ones, then failed ones."""
    workers: list[Peer]
    suspects: Suspects
    paused: list[Notice]
    """What is paused by its name."""
    outbox: OutboxCounts
    kept: Kept
    loads: dict[str, int]
    """How many instances each worker has, by its token."""
    over: OverTime
    many: bool
    """Whether there are more instances than a present count covers."""
    pace: Pace | None
    """What has begun and ended, if it was asked for."""
    now: int


async def overview_page(request: Request, reader: Reader, rollups: Rollups) -> Response:
    """The page; for htmx, its changing part alone."""
    seen, rates = await unless_gone(request, _shown(reader, _range(request), rollups))
    return render(
        request,
        "_overview.html" if "hx-request" in request.headers else "overview.html",
        seen=seen,
        rates=rates,
        lag=await reader.lists.lag(),
        needy=lines_of(seen.needy),
        workflows_of=_workflows_of,
        draining=draining_in,
        version_of_overview=_version(seen),
        most=MOST,
        oldest=OLDEST,
        rate=rate,
        ranges=RANGES,
        pauses=PAUSES,
    )


async def _shown(reader: Reader, over: str, rollups: Rollups) -> tuple[Overview, Rates | None]:
    """The content, and the rates of the last hour, which no look of an open page asks for."""
    census = await reader.lists.store.services.reading.census()
    since = (census.now // _SPAN - SPANS + 1) * _SPAN
    seen = await _overview(reader, over, rollups, census, since=since)
    if seen.pace is None:
        return seen, None
    return seen, rates_from(seen.pace, seen.open, since=since, width=_SPAN, now=seen.now)


def overview_question(request: Request, reader: Reader, rollups: Rollups) -> tuple[str, Question]:
    """The question that an open overview repeats, and its key. Each look also continues the rollup."""
    over = _range(request)

    async def question() -> str:
        asked = time.monotonic()
        seen = await _overview(reader, over, rollups, await reader.lists.store.services.reading.census())
        if seen.many:
            await rollups.go_on(reader.lists.store, seen.now, asked)
        return _version(seen)

    return f"overview?{over}", question


def _range(request: Request) -> str:
    """The range of time that the URL asks for. Raises QueryError for one that does not exist."""
    name = request.query_params.get("over", USUAL)
    if name not in RANGES:
        raise QueryError(f"over: one of {', '.join(RANGES)}")
    return name


async def _overview(
    reader: Reader, over: str, rollups: Rollups, census: Census, *, since: int | None = None
) -> Overview:
    """Ask three questions at a time: a server has several processors, and a worker may need connections meanwhile.

    `since`: count what has begun and ended since then, too.
    """
    store, spans = reader.lists.store, spans_of(over, census.now)
    workers = [peer for peer in census.workers if peer.works]
    present, (trend, loads, kept), (open_work, pace, outbox) = await asyncio.gather(
        _present(store, spans, rollups.known(census.now)),
        _trend(store, spans, workers),
        _open_work(store, census.now, since),
    )
    statuses, newest, rollup, many = present
    return Overview(
        tiles=[_tile(status, statuses.get(status, Count(0, None)), rollup) for status in _ORDER],
        flows=_flows(_by_workflow(newest) if rollup is None else rollup.workflows),
        counted=sum(newest.values()) if rollup is None else rollup.total,
        rollup=rollup,
        open=open_work,
        failures=await _failures(store, statuses),
        needy=await _needy(store, statuses),
        workers=workers,
        suspects=suspects_of(census),
        paused=[one for one in notices_in(census.workers) if one.kind in PAUSES],
        outbox=outbox,
        kept=_kept([one for one in kept if one.spread is not Spread.EVERY]),
        loads=loads,
        over=over_time(spans, _ORDER[::-1], trend, newest, rollup),
        many=many,
        pace=pace,
        now=census.now,
    )


def _figures(store: Store) -> Figures | None:
    return store.services.figures if Service.FIGURES in store.services.offered else None


async def _present(store: Store, spans: Spans, rollup: Rollup | None) -> Present:
    """Count the instances. Where there are many, a rollup that is complete counts them by workflow."""
    figures = _figures(store)
    if figures is None:
        return Present({}, {}, None, many=False)
    statuses = await figures.tally(most=MOST + 1)
    many = sum(count.number for count in statuses.values()) >= MOST
    if many and rollup is not None:
        return Present(statuses, {}, rollup, many)
    count = OLDEST if many else MOST
    return Present(statuses, await figures.newest(count, since=spans.since, width=spans.width), None, many)


async def _trend(store: Store, spans: Spans, workers: list[Peer]) -> tuple[Trend, dict[str, int], list[KeptMessage]]:
    kept = await store.services.router.kept(limit=_KEPT + 1)
    figures = _figures(store)
    if figures is None:
        return Trend({}, {}), {}, kept
    trend = await figures.trend(since=spans.since, width=spans.width, most=MOST)
    return trend, await figures.loads([peer.token for peer in workers], most=MOST + 1), kept


async def _open_work(store: Store, now: int, since: int | None) -> tuple[OpenWork, Pace | None, OutboxCounts]:
    outbox = await store.services.outbox.counts(most=MOST + 1)
    figures = _figures(store)
    if figures is None:
        return OpenWork({}, frozenset()), None, outbox
    open_work = await figures.open_work(most=OLDEST, now=now)
    pace = None if since is None else await figures.pace(since=since, width=_SPAN, most=OLDEST)
    return open_work, pace, outbox


async def _needy(store: Store, statuses: Mapping[Status, Count]) -> list[InstanceRow]:
    found: list[InstanceRow] = []
    for status in (Status.STUCK, Status.FAILED):
        if status in statuses and len(found) < _SHOWN:
            found += (await store.services.reading.find(build_query(status=status, limit=_SHOWN - len(found)))).rows
    return found


async def _failures(store: Store, statuses: Mapping[Status, Count]) -> FailureGroups | None:
    if Status.FAILED not in statuses or Service.LOOKUPS not in store.services.offered:
        return None
    return await failures_of(store, limit=_CAUSES)


def _kept(found: list[KeptMessage]) -> Kept:
    return Kept(min(len(found), _KEPT), len(found) > _KEPT, min((one.at for one in found), default=None))


def _by_workflow(newest: Mapping[tuple[str, Status, int], int]) -> Mapping[tuple[str, Status], int]:
    found: Counter[tuple[str, Status]] = Counter()
    for (name, status, _), number in newest.items():
        found[name, status] += number
    return found


def _workflows_of(peer: Peer) -> list[str]:
    return sorted(names_in(peer.codes))


def _tile(status: Status, count: Count, rollup: Rollup | None) -> Tile:
    oldest = None if status in TERMINAL_STATUSES else count.oldest
    rolled = 0 if rollup is None else rollup.statuses.get(status, 0)
    if count.number > MOST and rolled >= MOST:
        return Tile(status, rolled, more=False, rolled=True, oldest=oldest)
    return Tile(status, min(count.number, MOST), count.number > MOST, rolled=False, oldest=oldest)


def _flows(counts: Mapping[tuple[str, Status], int]) -> list[Flow]:
    by_name: dict[str, list[tuple[Status, int]]] = {}
    for status in reversed(_ORDER):
        for (name, one), number in counts.items():
            if one is status:
                by_name.setdefault(name, []).append((status, number))
    flows: list[Flow] = []
    for name, parts in sorted(by_name.items()):
        ended = sum(count for status, count in parts if status in TERMINAL_STATUSES)
        failed = sum(count for status, count in parts if status is Status.FAILED)
        flows.append(Flow(name, parts, sum(count for _, count in parts), failed / ended if ended else None))
    return sorted(flows, key=lambda flow: -flow.total)


def _version(seen: Overview) -> str:
    """A text that changes with the content of the page, but not with the ages, which change all the time."""
    workers = [
        (
            peer.token,
            peer.dead,
            silent(peer, seen.now),
            seen.loads.get(peer.token),
            draining_in(peer.codes),
        )
        for peer in seen.workers
    ]
    needy = [(row.instance_id, row.updated_at) for row in seen.needy]
    outbox = sorted(seen.outbox.states.items())
    shown = (
        seen.tiles,
        seen.flows,
        seen.open.by_workflow(),
        seen.now // _SPAN,
        needy,
        workers,
        outbox,
        seen.kept,
        seen.over,
        seen.suspects,
        seen.paused,
        seen.failures,
    )
    return hashlib.sha256(repr(shown).encode()).hexdigest()[:16]
