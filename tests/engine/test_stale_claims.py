"""A claim that is out of date: its instance was continued as new in the meantime, or its id is used again."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from msgspec import Raw
from msgspec.structs import replace

from romancy import Romancy, Status, WorkflowCancelledError, WorkflowContext, activity, workflow
from romancy.checking import misfit_of
from romancy.core import Message, MessageAwaited, Topic, mode_of_wait
from romancy.engine.decide import terminated
from romancy.engine.message_inputs import input_from_message
from romancy.engine.messages import encode_message
from romancy.engine.replay import load, load_log
from romancy.registry import Registry
from romancy.storage.records import (
    Append,
    Change,
    Claimed,
    Delivered,
    Delivery,
    InboxRow,
    InstanceRow,
    Mailbox,
    Outcome,
    Work,
    as_end,
)
from romancy_conformance.behaviour.waiting import status_is, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from romancy.engine.instance import Live
    from romancy.storage.protocol import Store
    from romancy.storage.records import ClaimRequest

pytestmark = pytest.mark.anyio

A_FEW_TURNS = 10
PAGES = 600
"""Steps of a run; two runs are more than a page of the log."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@activity
async def step(number: int) -> int:
    return number


@workflow
async def goes_round(ctx: WorkflowContext, rounds: int, steps: int) -> None:
    for number in range(steps):
        await step(number)
    if rounds > 1:
        goes_round.recur(rounds - 1, steps)
    await ctx.wait_event("go")


attempts: list[int] = []


@activity
async def takes_its_time() -> str:
    attempts.append(len(attempts) + 1)
    if len(attempts) == 1:
        await asyncio.Event().wait()
    return "done"


@workflow
async def works_on(ctx: WorkflowContext) -> str:
    return await takes_its_time()


@workflow
async def receives(ctx: WorkflowContext) -> int:
    busy = asyncio.ensure_future(takes_its_time())
    while (number := (await ctx.wait_event("number", model=int)).data) < 3:
        await step(number)
    busy.cancel()
    return number


REGISTRY = Registry.collect([goes_round])


@pytest.fixture
async def app() -> AsyncIterator[Romancy]:
    async with Romancy("memory://", workflows=[goes_round, receives, works_on]) as app:
        yield app


async def seen_before_it_was_continued(app: Romancy, *, rounds: int, steps: int) -> tuple[Store, InstanceRow]:
    """Return its store, and its row as it was in the first run."""
    handle = await app.start(goes_round, rounds, steps)
    await status_is(app, handle.instance_id, Status.WAITING)
    store = app._access.store
    assert store is not None
    found = await store.read(handle.instance_id, limit=0)
    assert found is not None
    assert found.instance.run_from > 1
    return store, replace(found.instance, run_from=1)


@pytest.mark.parametrize(("rounds", "steps"), [(2, 0), (3, 2), (3, PAGES)])
async def test_it_is_brought_back_from_the_run_it_is_in(app: Romancy, rounds: int, steps: int) -> None:
    store, stale = await seen_before_it_was_continued(app, rounds=rounds, steps=steps)
    claimed = Claimed(
        instance_id=stale.instance_id,
        life=stale.life,
        workflow_name=stale.workflow_name,
        status=Status.RUNNING,
        code=stale.code,
        run_from=1,
        head=1,
        signals=0,
        seen=0,
        crashes=0,
    )

    live = await load(store, REGISTRY, claimed)
    told, _ = await load_log(store, REGISTRY, claimed)

    for one in (live, told):
        assert one.run.status() is Status.WAITING
        assert one.run_from > 1
        assert one.head == stale.last_seq
        one.run.close()


async def test_a_check_reads_the_run_it_is_in(app: Romancy) -> None:
    store, stale = await seen_before_it_was_continued(app, rounds=3, steps=2)

    assert await misfit_of(store, REGISTRY, stale) is None


async def test_a_claim_of_a_former_life_does_not_leave_the_new_one_to_nobody(app: Romancy) -> None:
    """It had ended, was purged and started anew here while the claim was being answered."""
    attempts.clear()
    handle = await app.start(works_on.options(instance_id="used anew"))
    await until(lambda: bool(attempts))
    worker = app._access.worker
    assert worker is not None
    former = Claimed(
        instance_id="used anew",
        life=worker.driver.live["used anew"].life + 1,
        workflow_name="works_on",
        status=Status.RUNNING,
        code="",
        run_from=1,
        head=1,
        signals=0,
        seen=0,
        crashes=0,
    )

    await worker._intake.take_in(Work(claimed=[former], mail=[]), worker.beating.term)
    worker.claiming.look()

    assert await handle.result(timeout=20) == "done"


async def test_who_waits_here_hears_of_an_end_that_another_has_written(
    app: Romancy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The news of it came while the instance was still loaded here, and no other news follows."""
    attempts.clear()
    handle = await app.start(works_on)
    await until(lambda: bool(attempts))
    worker, store = app._access.worker, app._access.store
    assert worker is not None
    assert store is not None
    live, heard, notice = worker.driver.live[handle.instance_id], asyncio.Event(), worker.claiming.notice

    def hear(changed: frozenset[str] | None) -> None:
        heard.set()
        notice(changed)

    monkeypatch.setattr(worker.claiming, "notice", hear)
    waiting = asyncio.create_task(handle.result(timeout=20))
    end = live_end(live, worker.clock.now())
    assert await store.commit([end], worker=worker.leases.token) == [Outcome.ACCEPTED]
    await heard.wait()
    for _ in range(A_FEW_TURNS):
        await asyncio.sleep(0)
    assert not waiting.done()

    worker.driver.release(live, unfinished=True)  # is refused

    with pytest.raises(WorkflowCancelledError, match="over"):
        await waiting


def live_end(live: Live, now: int) -> Append:
    return Append(
        instance_id=live.instance_id,
        life=live.life,
        seq=live.head + 1,
        writer=as_end("another.1"),
        body=terminated(now, "over"),
        after=live.writer,
        change=Change(status=Status.CANCELLED, seen=live.signals, error="over"),
    )


async def test_mail_of_a_refused_append_stays_before_what_is_read_after_it(app: Romancy) -> None:
    """It was refused as newer mail had come."""
    store, row = await seen_before_it_was_continued(app, rounds=2, steps=0)
    claimed = Claimed(
        instance_id=row.instance_id, life=row.life, workflow_name=row.workflow_name, status=Status.RUNNING,
        code=row.code, run_from=1, head=1, signals=0, seen=0, crashes=0,
    )  # fmt: skip
    live = await load(store, REGISTRY, claimed)
    message = Message(Topic("go"), Raw(b"1"))
    live.wait(MessageAwaited("former", message.topic, mode_of_wait(message.topic)))
    live.take_in([InboxRow("d-1", encode_message(message), 1)], signals=1)
    ((fed, _),) = live.inbox.match()
    event = input_from_message(message, fed.at, "former", None)
    assert event is not None

    live.take_in([InboxRow("d-2", encode_message(message), 2)], signals=2)
    live.take_back([(event, fed)], ["d-1"])
    live.wait(MessageAwaited("w", message.topic, mode_of_wait(message.topic)))

    assert [(mail.delivery_id, wait) for mail, wait in live.inbox.match()] == [("d-1", "w")]
    live.run.close()


async def test_mail_in_an_old_answer_is_not_received_again(
    app: Romancy, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The store answered a claim before the append that consumed the mail, and the answer came after it."""
    attempts.clear()
    handle = await app.start(receives)
    await until(lambda: bool(attempts))
    worker, store = app._access.worker, app._access.store
    assert worker is not None
    assert store is not None
    live = worker.driver.live[handle.instance_id]
    answers: asyncio.Queue[Work] = asyncio.Queue()
    began = asyncio.Event()
    claim = store.claim

    async def late(request: ClaimRequest) -> Work:
        began.set()
        monkeypatch.setattr(store, "claim", claim)
        return await answers.get()

    monkeypatch.setattr(store, "claim", late)
    worker.claiming.look()
    await began.wait()
    body = encode_message(Message(Topic("number"), Raw(b"1")))
    sent = Delivery(instance_id=handle.instance_id, delivery_id="d-1", body=body)
    assert await store.deliver([sent]) == [Delivered.ACCEPTED]
    box = Mailbox(
        instance_id=live.instance_id, life=live.life, signals=1, rows=[InboxRow("d-1", body, live.run.last_time)]
    )
    head = live.head
    worker.driver.receive(live, box)
    await until(lambda: live.head >= head + 2)  # received, and the step after it

    answers.put_nowait(Work(claimed=[], mail=[box]))
    await handle.signal("number", 3)

    assert await handle.result(timeout=20) == 3
    assert "refused" not in caplog.text
