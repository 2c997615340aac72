"""The wire: answers that are lost, COMMITs that arrive late, connections that die. What came in, came in once."""

from __future__ import annotations

import asyncio
import re
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from romancy.errors import OutcomeUnknownError
from romancy.status import Status
from romancy.storage.backends import create_store
from romancy.storage.records import ClaimRequest, Delivered, Item, OutboxRow, Outcome
from romancy_conformance.contract.building import (
    Actor,
    append,
    change,
    created,
    delivery,
    full_log,
    start,
    step,
    unique,
)
from romancy_conformance.contract.fire.program import insist
from romancy_conformance.contract.interleaving import listen
from romancy_conformance.contract.ledger import Ledger
from romancy_conformance.proxy import Direction, Fault

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from romancy.storage.protocol import Store
    from romancy.storage.records import Append
    from romancy_conformance.proxy import Proxy, Trigger
    from romancy_conformance.servers import Server

pytestmark = pytest.mark.anyio

_HELD = 2.0
_ENDS_WITH_COMMIT = re.compile(rb"commit\s*;?\s*\0?$", re.IGNORECASE)


class Wire:
    """A store behind a proxy, and one that reaches the same database directly."""

    def __init__(self, proxy: Proxy, far: Store, near: Store) -> None:
        self.proxy = proxy
        self.far = far
        self.near = near
        self.actor = Actor(far, workflows={unique("flow"): "c1"})

    def when_sent(self, mark: str, fault: Fault) -> Trigger:
        """Apply the fault to the request that contains this text."""
        return self.proxy.when(
            lambda direction, data: direction is Direction.TO_SERVER and mark.encode() in data,
            fault,
        )

    def on_commit(self, fault: Fault) -> Trigger:
        """Apply the fault to the next request that ends in COMMIT; the request may contain the whole transaction."""
        return self.proxy.when(
            lambda direction, data: direction is Direction.TO_SERVER and _ENDS_WITH_COMMIT.search(data) is not None,
            fault,
        )

    def statement_by_statement(self) -> None:
        """Make the store behind the proxy send each statement by itself, COMMIT too, as while a tap listens."""

        async def pass_by(_: str, /) -> None:
            return

        listen(self.far, pass_by)

    async def look(self, begun: Append) -> list[tuple[int, str]]:
        """Return the log, read past the proxy."""
        return [(row.seq, row.writer) for row in await full_log(self.near, begun.instance_id)]


@pytest.fixture
async def wire(storage_url: str, proxy_for: Callable[[str | Server], Proxy]) -> AsyncIterator[Wire]:
    """A registered worker behind a proxy."""
    if urlsplit(storage_url).hostname is None or urlsplit(storage_url).port is None:
        pytest.skip("capability: no wire between this store and its database")
    proxy = proxy_for(storage_url)
    far, near = create_store(proxy.url(storage_url)), create_store(storage_url)
    await far.open()
    await near.open()
    wire = Wire(proxy, far, near)
    await wire.actor.register()
    yield wire
    proxy.heal()
    await far.close()
    await near.close()


def _rich(begun: Append, target: Append, seq: int = 2) -> Append:
    """An append that needs a transaction of several statements: it also sends to the child that it starts."""
    outgoing, child = OutboxRow(outbox_id=unique("o"), topic="t", body=b"{}"), start()
    mail = delivery(target), delivery(child)
    return append(begun, seq, change=change(), outbox=(outgoing,), deliveries=mail, starts=(child,))


@pytest.mark.parametrize("fault", [Fault.CUT, Fault.CUT_ANSWER])
async def test_a_plain_append_whose_answer_is_lost_is_in_once(wire: Wire, fault: Fault) -> None:
    begun = await wire.actor.begin()
    item = step(begun, 2)
    trigger = wire.when_sent(item.writer, fault)

    outcome = await insist(lambda: wire.actor.write(item))

    trigger.wait(0)
    assert outcome is Outcome.ACCEPTED
    assert await wire.look(begun) == [(1, begun.writer), (2, item.writer)]


@pytest.mark.parametrize("fault", [Fault.CUT, Fault.CUT_ANSWER])
async def test_an_append_with_effects_whose_commit_is_cut_is_in_once(wire: Wire, fault: Fault) -> None:
    begun, target = await wire.actor.begin(), await wire.actor.begin()
    item = _rich(begun, target)
    trigger = wire.on_commit(fault)

    outcome = await insist(lambda: wire.actor.write(item))

    trigger.wait(0)
    assert outcome is Outcome.ACCEPTED
    await _check_rich(wire, begun, target, item)


@pytest.mark.parametrize("fault", [Fault.CUT, Fault.CUT_ANSWER])
async def test_an_append_with_effects_whose_answer_is_lost_is_in_once(wire: Wire, fault: Fault) -> None:
    begun, target = await wire.actor.begin(), await wire.actor.begin()
    outgoing = OutboxRow(outbox_id=unique("o"), topic="t", body=b"{}")
    item = append(begun, 2, change=change(), outbox=(outgoing,), deliveries=(delivery(target),), starts=(start(),))
    trigger = wire.when_sent(item.writer, fault)

    outcome = await insist(lambda: wire.actor.write(item))

    trigger.wait(0)
    assert outcome is Outcome.ACCEPTED
    await _check_rich(wire, begun, target, item)


async def test_a_batch_whose_answer_is_lost_is_in_once(wire: Wire) -> None:
    begun = [await wire.actor.begin() for _ in range(20)]
    items = [step(one, 2) for one in begun]
    trigger = wire.when_sent(items[7].writer, Fault.CUT_ANSWER)

    outcomes = await insist(lambda: wire.far.commit(items, worker=wire.actor.token))

    trigger.wait(0)
    assert outcomes == [Outcome.ACCEPTED] * 20
    for one, item in zip(begun, items, strict=True):
        assert await wire.look(one) == [(1, one.writer), (2, item.writer)]


async def test_a_start_whose_answer_is_lost_is_accepted_once(wire: Wire) -> None:
    item = start()
    trigger = wire.when_sent(item.writer, Fault.CUT_ANSWER)

    outcome = await insist(lambda: wire.far.commit([item]))

    trigger.wait(0)
    assert outcome == [Outcome.ACCEPTED]
    assert await wire.look(item) == [(1, item.writer)]


async def test_a_delivery_whose_answer_is_lost_is_in_once(wire: Wire) -> None:
    """The caller learns that a copy was accepted but not which one; the inbox and the counter hold one."""
    begun = await wire.actor.begin()
    mail = delivery(begun, dedupe=unique("event"))
    trigger = wire.when_sent(mail.delivery_id, Fault.CUT_ANSWER)

    (answer,) = await insist(lambda: wire.far.deliver([mail]))

    trigger.wait(0)
    assert answer in {Delivered.ACCEPTED, Delivered.DUPLICATE}
    history = await wire.near.read(begun.instance_id, limit=0)
    assert history is not None
    assert history.instance.signals == 1


async def test_a_claim_whose_answer_is_lost_is_recovered(wire: Wire) -> None:
    item = start(workflow_name=next(iter(wire.actor.workflows)))
    await wire.far.commit([item])
    trigger = wire.when_sent(created(item).workflow_name, Fault.CUT_ANSWER)
    request = ClaimRequest(worker=wire.actor.token, codes=wire.actor.workflows, limit=5)

    first = await insist(lambda: wire.far.claim(request))
    trigger.wait(0)
    again = await wire.actor.claim(recover=True)

    assert {one.instance_id for one in (*first.claimed, *again)} == {item.instance_id}


async def test_a_commit_that_arrives_late_does_not_meet_its_copy(wire: Wire) -> None:
    """A2: absence proves nothing. The connection is gone, the COMMIT arrives later, and the append is sent again."""
    begun, target = await wire.actor.begin(), await wire.actor.begin()
    item = _rich(begun, target)
    wire.statement_by_statement()
    trigger = wire.on_commit(Fault.HOLD)
    lost = asyncio.create_task(wire.actor.write(item))
    await asyncio.to_thread(trigger.wait)
    lost.cancel()
    await asyncio.wait({lost})

    again = asyncio.create_task(insist(lambda: wire.actor.write(item)))
    await asyncio.wait({again}, timeout=_HELD)
    trigger.release()
    outcome = await again

    assert outcome is Outcome.ACCEPTED
    await _check_rich(wire, begun, target, item)


async def test_a_late_commit_and_another_append_at_its_place_exclude_each_other(wire: Wire) -> None:
    """A2: a writer that is told ACCEPTED finds its own bytes in the log."""
    begun, target = await wire.actor.begin(), await wire.actor.begin()
    item, other = _rich(begun, target), step(begun, 2, b'["other"]')
    wire.statement_by_statement()
    trigger = wire.on_commit(Fault.HOLD)
    lost = asyncio.create_task(wire.actor.write(item))
    await asyncio.to_thread(trigger.wait)
    lost.cancel()
    await asyncio.wait({lost})

    writing = asyncio.create_task(insist(lambda: wire.actor.write(other)))
    await asyncio.wait({writing}, timeout=_HELD)
    trigger.release()
    outcome = await writing

    accepted = other.writer if outcome is Outcome.ACCEPTED else item.writer
    assert await wire.look(begun) == [(1, begun.writer), (2, accepted)]
    assert await insist(lambda: wire.actor.write(item)) is (
        Outcome.ACCEPTED if accepted == item.writer else Outcome.TAKEN
    )


@pytest.mark.parametrize("fault", [Fault.CUT, Fault.CUT_ANSWER])
async def test_a_session_of_unknown_outcome_is_settled_by_a_tombstone(wire: Wire, fault: Fault) -> None:
    """A3: the user's writes cannot be sent again. The log row at the seq shows whether they are in."""
    ledger = await Ledger(wire.near).create()
    begun = await wire.actor.begin()
    item, tombstone = step(begun, 2), step(begun, 2, b'["tombstone"]')

    async with wire.far.services.sessions.begin() as session:
        await ledger.write(session, "a", 1)
        wire.statement_by_statement()
        trigger = wire.on_commit(fault)
        with pytest.raises(OutcomeUnknownError):
            await session.commit(item, worker=wire.actor.token)
    trigger.wait(0)

    await _settle(wire, ledger, begun, item, tombstone)
    arrived = fault is Fault.CUT_ANSWER
    assert await ledger.read("a") == (1 if arrived else None)


async def test_a_late_session_commit_and_its_tombstone_exclude_each_other(wire: Wire) -> None:
    ledger = await Ledger(wire.near).create()
    begun = await wire.actor.begin()
    item, tombstone = step(begun, 2), step(begun, 2, b'["tombstone"]')
    wire.statement_by_statement()
    trigger = wire.on_commit(Fault.HOLD)

    async def in_session() -> None:
        async with wire.far.services.sessions.begin() as session:
            await ledger.write(session, "a", 1)
            await session.commit(item, worker=wire.actor.token)

    lost = asyncio.create_task(in_session())
    await asyncio.to_thread(trigger.wait)
    lost.cancel()
    await asyncio.wait({lost})
    settling = asyncio.create_task(_settle(wire, ledger, begun, item, tombstone))
    await asyncio.wait({settling}, timeout=_HELD)
    trigger.release()
    await settling


async def test_a_store_outlives_its_connections(wire: Wire) -> None:
    begun = await wire.actor.begin()
    for seq in range(2, 12):
        wire.proxy.cut()
        assert await insist(partial(wire.actor.write, step(begun, seq))) is Outcome.ACCEPTED

    assert [seq for seq, _ in await wire.look(begun)] == list(range(1, 12))
    assert (await insist(lambda: wire.far.heartbeat(wire.actor.worker))).alive


async def test_a_cancelled_call_leaves_no_transaction_open_on_the_server(wire: Wire) -> None:
    """F8: a caller that was cancelled in the middle of a call leaves nothing that makes the next caller wait."""
    begun, target = await wire.actor.begin(), await wire.actor.begin()
    for seq in range(2, 8):
        item = _rich(begun, target, seq)
        calling = asyncio.create_task(wire.actor.write(item))
        for _ in range(seq * 3):
            await asyncio.sleep(0)
        calling.cancel()
        await asyncio.wait({calling})
        sent = item if seq % 2 else step(begun, seq)
        outcome = await asyncio.wait_for(insist(partial(wire.actor.write, sent)), 60)
        assert outcome in {Outcome.ACCEPTED, Outcome.TAKEN}

    assert [seq for seq, _ in await wire.look(begun)] == list(range(1, 8))


async def _check_rich(wire: Wire, begun: Append, target: Append, item: Append) -> None:
    """Check that the append and everything it carries are there, once."""
    assert await wire.look(begun) == [(1, begun.writer), (2, item.writer)]
    ours = {row.outbox_id for row in item.outbox}
    assert [row.outbox_id for row in await wire.near.services.outbox.read(1000) if row.outbox_id in ours] == list(ours)
    history = await wire.near.read(target.instance_id, limit=0)
    assert history is not None
    assert history.instance.signals == 1
    child = await wire.near.read(item.starts[0].instance_id)
    assert child is not None
    assert len(child.rows) == 1


async def _settle(wire: Wire, ledger: Ledger, begun: Append, item: Item, tombstone: Item) -> None:
    """Append the tombstone; the log and the user's rows must then agree."""
    outcome = await insist(lambda: wire.actor.write(tombstone))
    rows = await wire.look(begun)
    expected: dict[Any, tuple[str, int | None]] = {
        Outcome.ACCEPTED: (tombstone.writer, None),
        Outcome.TAKEN: (item.writer, 1),
    }
    writer, written = expected[outcome]
    assert rows == [(1, begun.writer), (2, writer)]
    assert await ledger.read("a") == written
    assert await wire.actor.write(append(begun, 3, change=change(Status.COMPLETED))) is Outcome.ACCEPTED
    assert await ledger.read("a") == written
