"""Retrying failed instances: standing results are kept, failed calls keep their keys, undone ones get new keys."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from romancy import (
    Handle,
    Romancy,
    Status,
    UsageError,
    WorkflowCancelledError,
    WorkflowContext,
    activity,
    workflow,
)
from romancy.core import ActivityFailed, ActivityScheduled, WorkflowCompleted, WorkflowRetried, decode_commit
from romancy.engine.messages import CancelMessage, encode_message
from romancy.hooks import Happening, Hook, WorkflowEnded, WorkflowStarted
from romancy.storage.backends import create_store
from romancy.storage.records import Append, Delivered, Delivery, PruneRequest
from romancy_conformance.behaviour.calling import calling
from romancy_conformance.behaviour.cast import act, charge, does, record, works
from romancy_conformance.behaviour.failing import fail, failed
from romancy_conformance.behaviour.stores import WrappedStore, wrap_stores
from romancy_conformance.behaviour.waiting import status_is, until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.storage.protocol import Store
    from romancy.storage.records import Item, Outcome
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio


@workflow
async def order(ctx: WorkflowContext) -> list[Any]:
    done = [await act("note"), await charge("charge"), await act("ship")]
    return [*done, ctx.run]


@workflow
async def approved(ctx: WorkflowContext) -> list[str]:
    one = await ctx.wait_event("approval")
    await act("ship")
    two = await ctx.wait_event("approval")
    return [one.data, two.data]


@workflow
async def goes_on(ctx: WorkflowContext, left: int) -> int:
    await act(f"step {left}")
    if left:
        goes_on.recur(left - 1)
    return ctx.run


@workflow
async def draws(ctx: WorkflowContext) -> int:
    await act(str(ctx.uuid4()))
    await act(str(ctx.random().random()))
    await act("ship")
    return ctx.run


@workflow
async def long(ctx: WorkflowContext, count: int) -> int:
    done = 0
    for first in range(0, count, 500):
        done += len(await asyncio.gather(*(number(each) for each in range(first, min(first + 500, count)))))
    await act("ship")
    return done


@activity
async def number(n: int) -> int:
    record.calls.append(("number", ""))
    return n


async def test_each_effect_stands_once_and_keys_say_which_is_which(app: Romancy) -> None:
    instance_id = await failed(app, order)

    await app.retry(instance_id)

    assert await app.handle(instance_id).result(timeout=60) == ["note", "charge", "ship", 2]
    assert record.names() == ["note", "charge", "ship", "refund charge", "charge", "ship"]
    assert len(set(record.keys("charge"))) == 2
    assert len(set(record.keys("ship"))) == 1
    scheduled = [event for event in await app.history(instance_id) if isinstance(event, ActivityScheduled)]
    assert [event.key for event in scheduled if event.name == "act" and event.key] == [
        *record.keys("note"),
        record.keys("ship")[0],
    ]


async def test_retrying_until_it_succeeds(app: Romancy) -> None:
    record.broken.add("ship")
    handle = await app.start(order)
    for _ in range(4):
        await fail(app, handle.instance_id)
        await app.retry(handle.instance_id)
    await fail(app, handle.instance_id)
    record.broken.clear()
    await app.retry(handle.instance_id)

    assert (await handle.result(timeout=60))[-1] == 6
    assert Counter(record.names()) == {"note": 1, "charge": 6, "refund charge": 5, "ship": 6}
    assert len(set(record.keys("charge"))) == 6
    assert len(set(record.keys("refund charge"))) == 5
    assert len(set(record.keys("ship"))) == 1


async def test_arguments_that_were_drawn_meet_the_memory(app: Romancy) -> None:
    instance_id = await failed(app, draws)
    first = record.names()

    await app.retry(instance_id)

    assert await app.handle(instance_id).result(timeout=60) == 2
    assert record.names() == [*first, "ship"]


async def test_signals_that_had_come_and_those_that_nobody_had_waited_for(app: Romancy) -> None:
    record.broken.add("ship")
    handle = await app.start(approved)
    await handle.signal("approval", "boss")
    await fail(app, handle.instance_id)
    record.broken.clear()

    await app.retry(handle.instance_id)
    await handle.signal("approval", "chief")

    assert await handle.result(timeout=60) == ["boss", "chief"]


async def test_mail_that_was_kept_when_it_failed_is_there_for_the_retry(app: Romancy) -> None:
    record.broken.add("ship")
    handle = await app.start(
        approved,
    )
    await handle.signal("approval", "boss")
    await handle.signal("approval", "chief")
    await fail(app, handle.instance_id)
    record.broken.clear()

    await app.retry(handle.instance_id)

    assert await handle.result(timeout=60) == ["boss", "chief"]


async def test_what_could_not_be_undone_is_named_and_asked_about(app: Romancy) -> None:
    record.broken.add("refund charge")
    instance_id = await failed(app, order)

    with pytest.raises(UsageError, match=r"charge:1.*unsure='done'"):
        await app.retry(instance_id)
    with pytest.raises(UsageError, match="unsure='maybe'"):
        await app.retry(instance_id, unsure="maybe")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] - users do
    assert await app.retry_many(everything=True) == []
    assert await app.handle(instance_id).status() is Status.FAILED

    assert await app.retry_many(everything=True, unsure="done") == [instance_id]
    await app.handle(instance_id).result(timeout=60)
    assert record.names().count("charge") == 1


async def test_what_was_undone_by_hand_is_done_again(app: Romancy) -> None:
    record.broken.add("refund charge")
    instance_id = await failed(app, order)

    await app.retry(instance_id, unsure="undone")

    await app.handle(instance_id).result(timeout=60)
    assert len(set(record.keys("charge"))) == 2


async def test_what_could_not_be_undone_in_a_child_is_named_too(app: Romancy) -> None:
    record.broken.add("refund charge")
    instance_id = await failed(app, calls_order)

    with pytest.raises(UsageError, match=r"charge:1.* of instance"):
        await app.retry(instance_id)

    await app.retry(instance_id, unsure="done")
    assert await app.handle(instance_id).result(timeout=60) == ["note", "charge", "ship", 2]
    assert record.names().count("charge") == 1


calls_order = calling(order)


async def test_what_was_known_for_sure_is_undone_if_the_retry_fails(app: Romancy) -> None:
    record.broken.add("refund charge")
    instance_id = await failed(app, order)
    record.broken.add("ship")

    await app.retry(instance_id, unsure="done")
    await fail(app, instance_id)

    assert record.names().count("refund charge") == 2
    assert len(set(record.keys("refund charge"))) == 1, "whoever gives the money back must see that it is the same"
    record.broken.clear()
    await app.retry(instance_id)
    await app.handle(instance_id).result(timeout=60)
    assert len(set(record.keys("charge"))) == 2


async def test_a_retried_run_continues_as_new(app: Romancy) -> None:
    instance_id = await failed(app, goes_on, 2, what="step 1")

    await app.retry(instance_id)

    assert await app.handle(instance_id).result(timeout=60) == 4
    assert record.names() == ["step 2", "step 1", "step 1", "step 0"]
    assert len(set(record.keys("step 1"))) == 1


@workflow
async def asks_and_goes_on(ctx: WorkflowContext, left: int) -> str:
    if left:
        await ctx.start(asks_and_goes_on, 0)
        await ctx.publish("left", left)
        both = asyncio.gather(ctx.wait_event("never"), act("never"))
        await asyncio.sleep(0)
        assert not both.done()
        asks_and_goes_on.recur(left - 1)
    return await act(f"run {ctx.run}")


async def test_what_the_run_before_asked_for_as_it_went_on_is_none_of_a_retry(app: Romancy) -> None:
    instance_id = await failed(app, asks_and_goes_on, 1, what="run 2")

    await app.retry(instance_id)

    assert await app.handle(instance_id).result(timeout=60) == "run 3"


async def test_cancelling_a_retried_run_undoes_what_it_did(app: Romancy) -> None:
    record.gates["gate"] = asyncio.Event()
    instance_id = await failed(app, does, ["charge", "ship", "gate"])
    await app.retry(instance_id)
    await until(lambda: "gate" in record.names())

    assert await app.cancel(instance_id)

    with pytest.raises(WorkflowCancelledError):
        await app.handle(instance_id).result(timeout=60)
    assert record.names().count("refund charge") == 2
    await app.retry(instance_id)
    await until(lambda: record.names().count("gate") == 2)
    record.gates["gate"].set()
    assert await app.handle(instance_id).result(timeout=60) == ["charge", "ship", "gate"]
    assert record.names().count("charge") == 3


class LateCancellation(WrappedStore):
    """A store on which a caller cancels an instance just before it fails, and learns that the message was accepted."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._left = [CancelMessage()]

    async def commit(self, batch: Sequence[Item], /, *, worker: str | None = None) -> list[Outcome]:
        for item in batch:
            if isinstance(item, Append) and item.change and item.change.status is Status.FAILED and self._left:
                failure = decode_commit(item.body)[0]
                assert isinstance(failure, ActivityFailed)
                while (await self._store.services.reading.census()).now <= failure.at:  # noqa: ASYNC110 - the clock is the database's
                    await asyncio.sleep(0.001)
                body = encode_message(self._left.pop())
                delivery = Delivery(instance_id=item.instance_id, delivery_id="late", body=body)
                assert await self._store.deliver([delivery]) == [Delivered.ACCEPTED]
        return await self._store.commit(batch, worker=worker)


async def test_a_cancellation_that_came_just_before_a_run_failed_is_not_for_its_retry(
    monkeypatch: pytest.MonkeyPatch, open_app: Open
) -> None:
    """The run heeds it: it had not failed as far as anybody could know."""
    wrap_stores(monkeypatch, LateCancellation)
    app = await open_app()
    record.broken.add("ship")
    handle = await app.start(works, "ship")
    with pytest.raises(WorkflowCancelledError):
        await handle.result(timeout=60)
    record.broken.clear()
    instance_id = handle.instance_id
    assert record.names() == ["ship"]

    await app.retry(instance_id)

    assert await app.handle(instance_id).result(timeout=60) == "ship"
    assert record.names() == ["ship", "ship"]


async def test_of_many_retries_one_is_done(app: Romancy) -> None:
    instance_id = await failed(app, order)

    answers = await asyncio.gather(*(app.retry(instance_id) for _ in range(5)), return_exceptions=True)

    assert [type(answer) for answer in answers if answer is not None] == [UsageError] * 4
    assert (await app.handle(instance_id).result(timeout=60))[-1] == 2
    assert sum(isinstance(event, WorkflowRetried) for event in await app.history(instance_id)) == 1


async def test_a_retry_and_a_purge_at_once(app: Romancy) -> None:
    ids = [await failed(app, order) for _ in range(4)]
    record.calls.clear()

    answers = await asyncio.gather(*(act(one) for one in ids for act in (app.retry, app.purge)), return_exceptions=True)

    for one, retried, purged in zip(ids, answers[::2], answers[1::2], strict=True):
        left = await app.get_instance(one)
        assert (purged == 1) is (left is None)
        assert (retried is None) is (left is not None)
        if left is not None:
            await app.handle(one).result(timeout=60)


async def test_the_memory_outlives_pruning_and_its_worker(app: Romancy, open_app: Open, storage_url: str) -> None:
    record.gates["gate"] = asyncio.Event()
    instance_id = await failed(app, does, ["note", "ship", "gate"])
    await app.retry(instance_id)
    await status_is(app, instance_id, Status.RUNNING)
    store = create_store(storage_url)
    await store.open()
    try:
        await store.services.upkeep.prune(PruneRequest(ended_before=1 << 60))
    finally:
        await store.close()
    record.gates["gate"].set()

    assert await app.handle(instance_id).result(timeout=60) == ["note", "ship", "gate"]
    assert record.names().count("note") == 1


async def test_what_nobody_asks_for_again_is_named_in_the_log(app: Romancy) -> None:
    instance_id = await failed(app, forgetful)

    await app.retry(instance_id)

    await app.handle(instance_id).result(timeout=60)
    (end,) = [event for event in await app.history(instance_id) if isinstance(event, WorkflowCompleted)]
    assert end.unclaimed == ("act:1@1",)


@workflow
async def forgetful(ctx: WorkflowContext) -> str:
    if ctx.run == 1:
        await act("note")
    return await act("ship")


@pytest.mark.timeout(300)
async def test_a_memory_of_thousands(app: Romancy) -> None:
    count = 5_000
    instance_id = await failed(app, long, count)
    assert record.names().count("number") == count
    before = len(await app.history(instance_id))

    await app.retry(instance_id)

    handle: Handle[int] = app.handle(instance_id)
    assert await handle.result(timeout=200) == count
    assert record.names().count("number") == count
    assert len(await app.history(instance_id)) > before + 2 * count


@activity
async def step(n: int) -> None:
    record.calls.append((f"step {n}", ""))


@workflow
async def in_many_commits(ctx: WorkflowContext, count: int) -> int:
    for n in range(count):
        await step(n if "other code" not in record.broken or n else count)
    await act("ship")
    return ctx.run


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "code", ["the same code", pytest.param("other code", marks=pytest.mark.unreplayable("its code has changed"))]
)
async def test_a_failed_run_of_more_commits_than_a_page(app: Romancy, code: str) -> None:
    count = 1_100  # a page has a thousand
    instance_id = await failed(app, in_many_commits, count)
    record.broken.add(code)

    await app.retry(instance_id)

    assert await app.handle(instance_id).result(timeout=200) == 2
    assert max(Counter(record.names()).values()) == 2
    expected = [*(f"step {n}" for n in range(count)), "ship", *(["step 1100"] if code == "other code" else []), "ship"]
    assert record.names() == expected


class Told(Hook):
    """What the hooks were told of ended instances."""

    def __init__(self) -> None:
        self.runs: list[int] = []
        self.ended: list[WorkflowEnded] = []

    def happened(self, event: Happening) -> None:
        match event:
            case WorkflowStarted():
                self.runs.append(event.run)
            case WorkflowEnded():
                self.ended.append(event)
            case _:
                pass


async def test_hooks_hear_of_a_retry(open_app: Open) -> None:
    told = Told()
    app = await open_app(hooks=[told])
    instance_id = await failed(app, forgetful)

    await app.retry(instance_id)
    await app.handle(instance_id).result(timeout=60)
    await app.drain()

    assert [event.unclaimed for event in told.ended] == [(), ("act:1@1",)]
    assert told.runs == [1, 2]


async def test_a_retry_goes_on_in_a_process_that_never_saw_it(app: Romancy, open_app: Open) -> None:
    instance_id = await failed(app, order)
    await app.drain()
    other = await open_app()

    await other.retry(instance_id)

    assert (await other.handle(instance_id).result(timeout=60))[-1] == 2
    assert record.names().count("note") == 1
