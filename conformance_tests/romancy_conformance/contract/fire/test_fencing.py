"""Fencing: a worker that was frozen past its lease and taken over can do whatever it likes; nothing of it is taken."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from romancy.storage.backends import create_store
from romancy_conformance.contract.building import full_log, start, unique
from romancy_conformance.contract.fire.fencer import LEASE
from romancy_conformance.contract.fire.process import until
from romancy_conformance.process_control import freezes

if TYPE_CHECKING:
    from collections.abc import Callable

    from romancy.storage.protocol import Store
    from romancy.storage.records import LogRow
    from romancy_conformance.contract.fire.process import Program

pytestmark = [pytest.mark.anyio, pytest.mark.soak, freezes]

_WORKERS = 4
_INSTANCES = 40


async def test_nothing_of_a_former_owner_is_accepted(
    shared_url: str, launch: Callable[..., Program], scale: int
) -> None:
    target, freezes = 1_000 * scale, 2 * scale
    workflow = unique("flow")
    store = create_store(shared_url)
    await store.open()
    items = [start(workflow_name=workflow) for _ in range(_INSTANCES)]
    await store.commit(items)
    workers = [launch(f"worker-{number}", "fencer", shared_url, workflow) for number in range(_WORKERS)]
    assert await until(lambda: all(worker.notes("ok") for worker in workers)), [worker.said for worker in workers]

    frozen = 0
    for attempt in range(freezes * 10):
        frozen += await _freeze_past_the_lease(workers, workers[attempt % _WORKERS])
        if frozen >= freezes and sum(len(worker.notes("ok")) for worker in workers) >= target:
            break
    assert await until(lambda: sum(len(worker.notes("ok")) for worker in workers) >= target)
    for worker in workers:
        await worker.finish()

    acknowledged = {(fact[0], int(fact[1]), fact[2]) for worker in workers for fact in worker.notes("ok")}
    odd = [fact for worker in workers for kind in ("odd", "accepted-after-death") for fact in worker.notes(kind)]
    written, takeovers = await _check_streams(store, [item.instance_id for item in items])
    refused = sum(int(fact[1]) for worker in workers for fact in worker.notes("refused"))
    await store.close()
    print(
        f"{len(acknowledged)} appends by {_WORKERS} processes, {frozen} frozen past their lease, {takeovers} instances "
        f"taken over, {refused} late appends refused"
    )
    assert odd == []
    assert acknowledged - written == set()
    assert frozen >= freezes
    assert len(acknowledged) >= target
    assert takeovers > 0
    assert refused > 0


async def _freeze_past_the_lease(workers: list[Program], victim: Program) -> bool:
    """Freeze a worker until another one has declared it dead, then resume it; return whether that happened.

    On a database with one writer, the frozen worker may hold the write lock. Then no other worker can declare it dead.
    """
    (token,) = victim.notes("worker")[-1]
    victim.freeze()
    taken = await until(lambda: any((token,) in worker.notes("marked") for worker in workers), timeout=5 * LEASE)
    victim.thaw()
    assert await until(lambda: not taken or bool(victim.notes("refused"))), victim.said
    return taken and (token,) in victim.notes("dead")


async def _check_streams(store: Store, instance_ids: list[str]) -> tuple[set[tuple[str, int, str]], int]:
    """Check that logs have no gaps, duplicates or rows of a replaced owner; return all rows and count the takeovers."""
    written: set[tuple[str, int, str]] = set()
    takeovers = 0
    for instance_id in instance_ids:
        rows = await full_log(store, instance_id)
        assert [row.seq for row in rows] == list(range(1, len(rows) + 1))
        assert len({row.writer for row in rows}) == len(rows)
        written |= {(instance_id, row.seq, row.writer) for row in rows}
        takeovers += _check_owners(rows)
    return written, takeovers


def _check_owners(rows: list[LogRow]) -> int:
    events: list[dict[str, Any]] = [msgspec.json.decode(row.body)[0] for row in rows]
    dead: set[str] = set()
    for before, event in pairwise(events):
        if event["type"] == "owner":
            dead.add(event["dead"])
            continue
        assert event["token"] not in dead, "an append of a former owner stands behind its takeover"
        same = event["token"] == before.get("token")
        assert same or before["type"] in {"started", "owner"} or before["releases"], "two owners at once"
    return len(dead)
