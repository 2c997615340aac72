"""Limits seen from outside, while workers are killed and frozen at random: a recorder sees each step begin and end.

A place is inside from the first beginning that was recorded until the commit that gives it back, by the clock of this
machine. The death of its worker changes nothing: the place is the instance's, and the next worker goes on with it. What
a worker does that has lost its instance comes behind that commit, and counts no more.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Final

import pytest

from romancy import Romancy
from romancy.core import TERMINAL, ActivityCompleted, WorkflowCompleted, decode_commit
from romancy.errors import StorageUnavailableError
from romancy_conformance.behaviour.faults.field import ENVIRONMENT
from romancy_conformance.behaviour.faults.forked import Forked
from romancy_conformance.behaviour.faults.placed import PLACED, placed, placed_apart, work
from romancy_conformance.behaviour.faults.recorder import Recorder
from romancy_conformance.invariants import sweep
from romancy_conformance.lane_use import Demand, Use, demands_in, use_of
from romancy_conformance.process_control import freezes

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from romancy_conformance.behaviour.faults.field import Field
    from romancy_conformance.behaviour.faults.recorder import Record

SOAK: Final = bool(os.environ.get("ROMANCY_SOAK"))

pytestmark = [pytest.mark.anyio, pytest.mark.soak, freezes, pytest.mark.timeout(7200 if SOAK else 300)]

KEYS, EACH, WORKERS, KILLS = (50, 40, 8, 1000) if SOAK else (6, 10, 3, 12)
STEPS, SECONDS = (1, 4.0) if SOAK else (1, 0.3)
"""On two cores, MySQL gives and takes back about 150 places a second. The limits shall be what holds work up."""
LEASE: Final = 3.0
LEAST: Final = 0.9
"""Which share of what the limits allow is used on a machine that does nothing else."""


async def test_a_recorder_never_sees_more_inside_than_allowed(
    field: Field, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seed, begun = random.randrange(1 << 32), time.monotonic()
    recorder, ids = Recorder(tmp_path / "records", ENVIRONMENT), list[str]()
    crew = Crew(field, recorder, random.Random(seed))
    try:
        await crew.hire(WORKERS)
        async with Romancy(field.url, worker=False, workflows=PLACED) as app:
            async with asyncio.TaskGroup() as group:
                storm = group.create_task(crew.storm())
                while not storm.done():  # another round, until as many were killed
                    ids += await start_round(app, len(ids))
                    await field.all_ended(6000)
            held = await app.limits()
        took = time.monotonic() - begun
        stays, demands = await all_stays(field, ids, recorder.read())
    finally:
        crew.dismiss()
        recorder.close()

    allowed = {key: placed(key)[1] for key in range(KEYS)}
    with capsys.disabled():
        uses = [use_of(demands[key], allowed[key]) for key in range(KEYS)]
        total, used = sum(uses, Use()).share, [use.share for use in uses]
        places = sum(map(len, stays.values()))
        print(
            f"\n{field.url.partition(':')[0]}, seed {seed}: {len(ids)} workflows in {places} places, "
            f"{crew.killed} kills, {crew.frozen} freezes in {took:.0f} s; {total:.1%} of what the limits "
            f"allow was used, {min(used):.0%} to {max(used):.0%}"
        )
    assert {key: most_inside(stays[key]) for key in allowed} == allowed
    assert held == []
    assert [await field.places_of(ids[at : at + 500]) for at in range(0, len(ids), 500)] == [[]] * -(-len(ids) // 500)
    found = await sweep(field.store, {one.name: one for one in PLACED}, again=lambda: asyncio.sleep(2 * LEASE))
    assert [one for one in found if one.instance_id in set(ids)] == []
    assert (crew.killed, crew.frozen > 0) == (KILLS, True)
    if SOAK:  # the simulated case `full-lanes` has no such clock, and says it always
        assert total >= LEAST


async def start_round(app: Romancy, first: int) -> list[str]:
    """Start as many for each key. They keep their keys busy for as long, whatever the limits."""
    ids = [f"{key}.{first + number}" for number in range(EACH) for key in range(KEYS)]
    flows = [(one, *placed(key_of(one))) for one in ids]
    calls = [
        flow.options(instance_id=one).bind(str(key_of(one)), STEPS * allowed, SECONDS) for one, flow, allowed in flows
    ]
    while True:
        try:
            await app.start_many(calls)
        except StorageUnavailableError:  # a frozen worker may hold the file
            await asyncio.sleep(0.1)
        else:
            return ids


class Crew:
    """Worker processes; one after another is killed and replaced, or frozen beyond its lease."""

    def __init__(self, field: Field, recorder: Recorder, chance: random.Random) -> None:
        self._field, self._recorder, self._chance = field, recorder, chance
        self.hired: list[Forked] = []
        self._workers: list[Forked] = []
        self._thaws: dict[int, asyncio.Task[None]] = {}
        self.killed = self.frozen = 0

    async def hire(self, count: int) -> None:
        hired = [Forked(work, self._field.url, self._recorder.port, LEASE) for _ in range(count)]
        self.hired += hired
        self._workers += await asyncio.gather(*(one.ready() for one in hired))

    async def storm(self) -> None:
        """Harm workers until enough were killed. Those that are frozen go on afterwards."""
        hired = list[asyncio.Task[None]]()
        while self.killed < KILLS:
            victim = self._chance.choice(self._workers)
            if self._chance.random() < 0.25 and len(self._thaws) < WORKERS // 3 and victim.pid not in self._thaws:
                victim.send(signal.SIGSTOP)
                self.frozen += 1
                self._thaws[victim.pid] = asyncio.create_task(self._thaw(victim, self._chance.uniform(1.2, 2) * LEASE))
            else:
                self._workers.remove(victim)
                victim.kill()
                self.killed += 1
                hired = [one for one in hired if not one.done()] + [asyncio.create_task(self.hire(1))]
                while len(self._workers) <= WORKERS // 2:
                    await asyncio.wait(hired, return_when=asyncio.FIRST_COMPLETED)
                    hired = [one for one in hired if not one.done()]
            await asyncio.sleep(self._chance.uniform(0.2, 1.0))
        await asyncio.gather(*hired, *self._thaws.values())

    def dismiss(self) -> None:
        for one in self.hired:
            one.kill()

    async def _thaw(self, worker: Forked, after: float) -> None:
        await asyncio.sleep(after)
        if worker.alive:
            worker.send(signal.SIGCONT)
        del self._thaws[worker.pid]


Stay = tuple[int, int]
"""From when until when a place was taken, in microseconds."""


async def all_stays(
    field: Field, ids: Iterable[str], records: Iterable[Record]
) -> tuple[dict[int, list[Stay]], dict[int, list[Demand]]]:
    """The stays of each key, and its demands. Checks that each instance has ended once, with each step recorded."""
    begun: dict[tuple[str, str], int] = {}
    for record in records:
        if record.what == "begin":
            begun.setdefault((record.instance_id, record.activity_id), record.at)
    begins = defaultdict[str, list[int]](list)
    for (instance_id, _), at in begun.items():
        begins[instance_id].append(at)
    stays, demands = defaultdict[int, list[Stay]](list), defaultdict[int, list[Demand]](list)
    for one in ids:
        history = await field.store.read(one)
        assert history is not None
        rows = [(row.at, decode_commit(row.body)) for row in history.rows]
        events = [(at, event) for at, commit in rows for event in commit]
        demands[key_of(one)] += demands_in(rows, begins[one])
        assert [type(event) for _, event in events if isinstance(event, TERMINAL)] == [WorkflowCompleted], one
        steps = [(begun[one, event.id], at) for at, event in events if isinstance(event, ActivityCompleted)]
        assert len(steps) == STEPS * placed(key_of(one))[1], one
        apart = placed_apart(key_of(one))
        stays[key_of(one)] += steps if apart else [(min(since for since, _ in steps), max(until for _, until in steps))]
    return stays, demands


def most_inside(stays: Iterable[Stay]) -> int:
    """How many were inside at a time."""
    return max((inside for _, inside in _course(stays)), default=0)


def _course(stays: Iterable[Stay]) -> list[tuple[int, int]]:
    """How many are inside from each moment at which that changes. Who leaves in the same moment leaves first."""
    changes = sorted(change for since, until in stays for change in ((until, -1), (since, 1)))
    inside, course = 0, list[tuple[int, int]]()
    for at, change in changes:
        inside += change
        course.append((at, inside))
    return course


def key_of(instance_id: str) -> int:
    return int(instance_id.partition(".")[0])
