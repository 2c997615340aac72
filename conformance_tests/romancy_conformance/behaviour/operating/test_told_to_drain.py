"""Workers that another process asks to drain: each hears of it, tells how far it is, and others go on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from romancy import Romancy, UsageError, WorkflowContext, workflow
from romancy.engine import draining_in
from romancy.managing.draining import Progress, ask_to_drain, progress_of
from romancy.storage.backends import create_store
from romancy.storage.notices import notices_in
from romancy.storage.records import Worker
from romancy_conformance.behaviour.cast import act, record, waits_at_a_gate
from romancy_conformance.behaviour.waiting import until

if TYPE_CHECKING:
    from romancy.storage.protocol import Store
    from romancy.storage.records import Census, Peer
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

SOON = 60.0


@workflow(name="drained_order")
async def order(ctx: WorkflowContext, what: str) -> str:
    return await waits_at_a_gate(what) + await act(f" after {what}")


async def seen(store: Store, worker_id: str) -> tuple[Census, Peer]:
    census = await store.services.reading.census()
    return census, next(peer for peer in census.workers if peer.worker_id == worker_id)


async def test_a_worker_drains_tells_how_far_it_is_and_others_go_on(open_app: Open, storage_url: str) -> None:
    first = await open_app(worker_id="first", drain_timeout=SOON)
    store = create_store(storage_url)
    await store.open()
    client = await open_app(worker=False)
    handle = await client.start(order, "a")
    await until(lambda: "a" in record.names())
    _, asked = await seen(store, "first")
    second = await open_app(worker_id="second")
    await client.drain_worker("first")
    await until(lambda: first.is_draining)

    async def tells(number: int) -> bool:
        _, peer = await seen(store, "first")
        told = draining_in(peer.codes)
        return told is not None and told[0] == number

    await until(lambda: tells(1))
    census, _ = await seen(store, "first")
    assert progress_of(asked, census).words == "attempts at work: 1, open instances: 1"
    other = await client.start(order, "b")
    record.gates["b"].set()
    assert await other.result(timeout=SOON) == "b after b"
    assert not second.is_draining
    record.gates["a"].set()
    assert await handle.result(timeout=SOON) == "a after a"
    assert record.names().count("a") == 1
    await until(lambda: tells(0))
    census, peer = await seen(store, "first")
    assert progress_of(asked, census) == Progress("it has drained, and takes nothing more", 0, 0, over=True)
    await ask_to_drain(store, {peer.token: peer})

    async def nobody_is_asked() -> bool:
        return not notices_in((await store.services.reading.census()).workers)

    await until(nobody_is_asked)
    assert not second.is_draining
    await store.close()


async def test_a_worker_that_is_gone_or_old_is_named(app: Romancy, store: Store, open_app: Open) -> None:
    with pytest.raises(UsageError, match="no worker 'nobody' is registered"):
        await app.drain_worker("nobody")
    old = Worker(token="of an old one", worker_id="old", lease=60_000_000, codes=("x",))
    await store.heartbeat(old)
    _, asked = await seen(store, "old")
    await app.drain_worker("old")
    await app.drain_worker("old")
    census, _ = await seen(store, "old")
    assert [one.name for one in notices_in(census.workers)] == [old.token]
    assert progress_of(asked, census).words == "it was asked"
    for _ in range(4):
        await store.heartbeat(old)
    census, _ = await seen(store, "old")
    progress = progress_of(asked, census)
    assert (progress.failed, progress.over, progress.attempts) == (True, True, None)
    assert "its version of Romancy does not know how" in progress.words
    await store.leave(old)
    assert progress_of(asked, await store.services.reading.census()) == Progress("it has ended", 0, 0, over=True)
    silent = Worker(token="of a silent one", worker_id="silent", lease=1, codes=("x",))
    await store.heartbeat(silent)
    with pytest.raises(UsageError, match=r"does not live any more|is registered"):
        await app.drain_worker("silent")
