"""Limits whose workers are killed, frozen and told to stop: never more inside than allowed, and no place is lost."""

from __future__ import annotations

import asyncio
import os
import random
from collections import defaultdict
from typing import TYPE_CHECKING

import pytest

from romancy import Status
from romancy_conformance.behaviour.faults.harm import harmed
from romancy_conformance.behaviour.faults.program import FAULTY_LANES, faulty_newest, faulty_single

if TYPE_CHECKING:
    from collections.abc import Iterable

    from romancy import Workflow
    from romancy_conformance.behaviour.crashes.ledger import Entry
    from romancy_conformance.behaviour.faults.field import Field

pytestmark = pytest.mark.anyio

SOAK = bool(os.environ.get("ROMANCY_SOAK"))
KEYS, EACH = (50, 40) if SOAK else (4, 50)
WORKERS = 8 if SOAK else 3
WAVES = 1000 if SOAK else 120


@pytest.mark.soak
@pytest.mark.timeout(3600 if SOAK else 300)
async def test_no_lane_has_more_inside_than_allowed_whatever_becomes_of_the_workers(
    field: Field, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = random.randrange(1 << 32)
    workers = [await field.worker("--lease", "3") for _ in range(WORKERS)]
    ids = [f"{key}.{number}" for number in range(EACH) for key in range(KEYS)]
    await field.app.start_many([lane_of(one).options(instance_id=one).bind(key_of(one), 0.3) for one in ids])
    over = asyncio.create_task(field.all_ended())
    harms = await harmed(field, workers, random.Random(seed), over)
    await over

    lanes = defaultdict[str, list["Entry"]](list)
    for entry in field.ledger.read():
        lanes[key_of(entry.instance_id)].append(entry)
    with capsys.disabled():
        print(f"\n{field.url.partition(':')[0]}, seed {seed}: {len(ids)} places, {harms} workers harmed")
    most = {key: most_inside(lanes[key]) for key in map(str, range(KEYS))}
    assert most == {key: 1 + int(key) % len(FAULTY_LANES) for key in most}
    assert await field.places_of(ids) == []
    assert harms > 1


@pytest.mark.soak
@pytest.mark.timeout(3600 if SOAK else 300)
@pytest.mark.parametrize("which", [faulty_single, faulty_newest], ids=["skipped", "replaced"])
async def test_who_is_refused_never_begins_whatever_becomes_of_the_workers(
    field: Field, capsys: pytest.CaptureFixture[str], which: Workflow[[str, float], int]
) -> None:
    seed = random.randrange(1 << 32)
    workers = [await field.worker("--lease", "3") for _ in range(3)]
    ids: list[str] = []

    async def start_and_end() -> None:
        for number in range(WAVES):
            some = [f"{key}.{number}" for key in range(3)]
            ids.extend(some)
            calls = [which.options(instance_id=one).bind(one.partition(".")[0], 0.3) for one in some]
            await field.app.start_many(calls)
            await asyncio.sleep(0.1)  # so that some come while a place is taken, and some while none is
        await field.all_ended()

    over = asyncio.create_task(start_and_end())
    harms = await harmed(field, workers, random.Random(seed), over)
    await over

    entries = defaultdict[str, list["Entry"]](list)
    for entry in field.ledger.read():
        entries[entry.instance_id.partition(".")[0]].append(entry)
    begun = {entry.instance_id for some in entries.values() for entry in some}
    ended: dict[Status, set[str]] = defaultdict(set)
    for one in ids:
        found = await field.app.get_instance(one)
        assert found is not None
        ended[found.status].add(one)
    with capsys.disabled():
        counts = {str(status): len(some) for status, some in ended.items()}
        print(f"\n{field.url.partition(':')[0]}, seed {seed}: {counts}, {harms} workers harmed")
    assert set(ended) == {Status.COMPLETED, Status.CANCELLED}
    assert begun == ended[Status.COMPLETED]
    assert {key: most_inside(some) for key, some in entries.items()} == dict.fromkeys(map(str, range(3)), 1)
    assert await field.places_of(ids) == []
    assert harms > 1


def key_of(instance_id: str) -> str:
    return instance_id.partition(".")[0]


def lane_of(instance_id: str) -> Workflow[[str, float], int]:
    """The keys have the limits in turn."""
    return FAULTY_LANES[int(key_of(instance_id)) % len(FAULTY_LANES)]


def most_inside(entries: Iterable[Entry]) -> int:
    """How many instances were inside at a time. An attempt of a worker that has lost its instance counts no more."""
    inside: set[str] = set()
    left: set[str] = set()
    most = 0
    for entry in entries:
        one = entry.instance_id
        if entry.what == "begin" and one not in left:
            inside.add(one)
            most = max(most, len(inside))
        elif entry.what == "end":
            inside.discard(one)
            left.add(one)
    return most
