"""Several processes on one database: none is refused, and every message is consumed once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from romancy.status import Status
from romancy.storage.backends import create_store
from romancy_conformance.contract.building import full_log, start, unique
from romancy_conformance.contract.fire.process import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from romancy_conformance.contract.fire.process import Program

pytestmark = [pytest.mark.anyio, pytest.mark.soak]


async def test_four_processes_append_and_none_is_turned_away(
    shared_url: str, launch: Callable[..., Program], scale: int
) -> None:
    """On an embedded database 1,000 appends each; on a server only the soak run writes as many."""
    count = 250 if scale == 1 and await _is_a_server(shared_url) else 1_000
    writers = [launch(f"writer-{number}", "writer", shared_url, count) for number in range(4)]
    for writer in writers:
        await writer.end()

    store = create_store(shared_url)
    await store.open()
    for writer in writers:
        ((instance_id, _),) = writer.notes("ok")
        rows = await full_log(store, instance_id)
        assert [row.body for row in rows[1:]] == [b'["%d"]' % seq for seq in range(2, count + 2)]
    await store.close()
    print(f"4 processes, {count} appends each, one at a time")


async def _is_a_server(url: str) -> bool:
    store = create_store(url)
    await store.open()
    embedded = store.capabilities.embedded
    await store.close()
    return not embedded


async def test_every_message_is_consumed_once_and_in_the_order_of_its_sender(
    shared_url: str, launch: Callable[..., Program], scale: int
) -> None:
    senders, takers, count = 4, 2, 250 * scale
    workflow = unique("flow")
    store = create_store(shared_url)
    await store.open()
    targets = [start(workflow_name=workflow, status=Status.WAITING, delay=None) for _ in range(100)]
    await store.commit(targets)
    ids = [target.instance_id for target in targets]
    takes = [launch(f"taker-{number}", "taker", shared_url, workflow) for number in range(takers)]
    sends = [launch(f"s{number}", "sender", shared_url, f"s{number}", count, *ids) for number in range(senders)]

    for sender in sends:
        await sender.end()
    whole = senders * count
    all_taken = await until(lambda: sum(int(n) for taker in takes for (n,) in taker.notes("took")) >= whole)
    for taker in takes:
        await taker.finish()

    odd = [fact for program in (*sends, *takes) for fact in program.notes("odd")]
    logs = [
        [
            event
            for row in await full_log(store, one)
            for event in msgspec.json.decode(row.body)[0:]
            if "sender" in event
        ]
        for one in ids
    ]
    await store.close()
    _check(logs, senders, count)
    print(f"{whole} messages from {senders} processes to {len(ids)} instances, consumed by {takers}")
    assert all_taken
    assert odd == []


def _check(logs: list[list[dict[str, Any]]], senders: int, count: int) -> None:
    got = sorted((event["sender"], event["number"]) for log in logs for event in log)
    assert got == sorted((f"s{sender}", number) for sender in range(senders) for number in range(count))
    for log in logs:
        for sender in range(senders):
            numbers = [event["number"] for event in log if event["sender"] == f"s{sender}"]
            assert numbers == sorted(numbers)
