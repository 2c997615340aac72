"""A relay meets what else happens: recur, cancellation, purge, drain, and events that never get through."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from romancy import RetryPolicy, Romancy, WorkflowCancelledError, WorkflowContext, activity, activity_context, workflow
from romancy.outbox import OutboxEvent, Reject, Relay, Retry
from romancy.storage.backends import create_store
from romancy.storage.outbox import OutboxState
from romancy_conformance.behaviour.calling import calling
from romancy_conformance.behaviour.recording import Recorder, ended, relaying
from romancy_conformance.behaviour.waiting import until

if TYPE_CHECKING:
    from romancy.storage.protocol import Store
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

AT_ONCE = RetryPolicy(0, 0.01, 1.5, 0.05)


@workflow
async def publishes(ctx: WorkflowContext, key: str, numbers: list[int]) -> None:
    for number in numbers:
        await ctx.publish("counted", number, key=key)


@workflow
async def publishes_numbers(ctx: WorkflowContext, first: int, end: int) -> None:
    for number in range(first, end):
        await ctx.publish("counted", number)


@workflow
async def goes_on(ctx: WorkflowContext, number: int, last: int) -> int:
    await ctx.publish("run", number, key="runs")
    if number < last:
        goes_on.recur(number + 1, last)
    return number


@workflow
async def waits(ctx: WorkflowContext) -> None:
    await ctx.publish("waits", 1)
    await ctx.wait_event("never")


@activity(retry=RetryPolicy(2, 0.0))
async def rolls_back() -> None:
    """Its first attempt writes in a session, publishes there, starts a workflow that publishes, and fails."""
    context = activity_context()
    session = await context.session()
    await context.publish("tried", context.attempt, key="k")
    if context.attempt == 1:
        await begun["app"].publish("outside", 1, session=session)
        raise ConnectionError("no")


calls_rolls_back = calling(rolls_back)


begun: dict[str, Romancy] = {}


class Deaf(Recorder):
    """Some numbers never get through."""

    def __init__(self, *never: int) -> None:
        super().__init__()
        self.never = never

    async def send(self, event: OutboxEvent, /) -> None:
        await super().send(event)
        if event.data in self.never:
            raise Retry("never")


async def until_tried(recorder: Recorder, number: int, times: int) -> None:
    async with asyncio.timeout(60):
        while sum(event.data == number for event in recorder.sent) < times:
            recorder.changed.clear()
            await recorder.changed.wait()


async def test_each_run_of_a_workflow_publishes_once_and_in_order(app: Romancy, store: Store) -> None:
    recorder = Recorder()
    assert await app.run(goes_on, 1, 5) == 5
    async with relaying(Relay(recorder), store):
        await ended(store, 5)
    assert [event.data for event in recorder.sent] == [1, 2, 3, 4, 5]


async def test_what_a_cancelled_and_purged_instance_has_published_is_sent(app: Romancy, store: Store) -> None:
    recorder = Recorder()
    handle = await app.start(waits.options(instance_id="w"))
    await until(lambda: store.services.outbox.read(1))
    await app.cancel("w")
    with pytest.raises(WorkflowCancelledError):
        await handle.result()
    assert await app.purge("w") == 1
    async with relaying(Relay(recorder), store):
        await ended(store, 1)
    assert [(event.type, event.instance_id) for event in recorder.sent] == [("waits", "w")]


async def test_what_a_session_has_rolled_back_is_not_sent(app: Romancy, store: Store) -> None:
    recorder = Recorder()
    begun["app"] = app
    await app.run(calls_rolls_back)
    async with relaying(Relay(recorder), store):
        await ended(store, 1)
    assert [(event.type, event.data) for event in recorder.sent] == [("tried", 2)]
    assert (await store.services.outbox.counts(most=1000)).states == {OutboxState.PUBLISHED: 1}


async def test_an_event_that_never_gets_through_holds_its_key_and_no_other(app: Romancy, store: Store) -> None:
    deaf = Deaf(1)
    await app.run(publishes, "stuck", [1, 2, 3])
    async with relaying(Relay(deaf, retry=AT_ONCE, concurrency=2), store):
        for number in range(10, 40):
            await app.run(publishes, f"k{number}", [number])
        await ended(store, 30)
        await until_tried(deaf, 1, 5)
    assert {event.data for event in deaf.sent} == {1, *range(10, 40)}

    # It is too old now, and lets the others of its key go.
    entries = {entry.state: entry for entry in await store.services.outbox.entries([OutboxState.PENDING], limit=1)}
    age = ((await store.services.outbox.counts(most=1000)).now - entries[OutboxState.PENDING].at) / 1e6
    recorder = Recorder(Reject("one is refused"))
    await app.run(publishes, "stuck", [4])
    async with relaying(Relay(recorder, max_age=age / 2), store):
        found = await ended(store, 34)
    states = {int(entry.row.body.split(b'"data":')[1].split(b",")[0]): entry.state for entry in found.values()}
    assert [states[number] for number in (1, 2, 3)] == [OutboxState.EXPIRED] * 3
    assert states[4] in (OutboxState.INVALID, OutboxState.EXPIRED)


async def test_requeue_and_purge_while_events_are_sent(app: Romancy, store: Store) -> None:
    """Operators do not affect events that are being sent; requeued events precede the rest of their keys."""
    may_end = asyncio.Event()

    class Slow(Recorder):
        async def send(self, event: OutboxEvent, /) -> None:
            await super().send(event)
            if event.data == 2 and len(self.sent) < 3:
                await may_end.wait()
            if event.data == 1 and len(self.sent) == 1:
                raise Reject("no")

    slow = Slow()
    await app.run(publishes, "k", [1, 2, 3])
    async with relaying(Relay(slow), store):
        await slow.until(2)
        later = (await store.services.outbox.counts(most=1000)).now + 1
        assert await store.services.outbox.purge([OutboxState.PUBLISHED], later) == 0
        assert await store.services.outbox.requeue(list(OutboxState)[1:]) == 1  # the first, while the second is sent
        await slow.until(3)
        may_end.set()
        found = await ended(store, 3)
    assert [(event.data, event.attempt) for event in slow.sent] == [(1, 1), (2, 1), (1, 1), (3, 1)]
    assert {entry.state for entry in found.values()} == {OutboxState.PUBLISHED}


async def test_a_relay_drains_with_its_app_and_one_without_a_worker_sends_nothing(
    open_app: Open, storage_url: str
) -> None:
    first, second = Recorder(), Recorder()
    client = await open_app(worker=False, relay=Relay(Recorder(ZeroDivisionError())))
    app = await open_app(relay=Relay(first))
    await client.start(publishes, "k", [1])
    await first.until(1)
    await app.drain(5.0)
    store = create_store(storage_url)
    await store.open()
    await (await open_app()).run(publishes, "k", [2])
    (pending,) = await store.services.outbox.read(9)
    assert (pending.key, len(first.sent)) == ("k", 1)

    async with relaying(Relay(second), store):
        await ended(store, 2)
    assert [event.data for event in second.sent] == [2]
    assert client.relay is not None
    assert client.relay.sender.sent == []  # type: ignore[attr-defined]
    await store.close()


class Poisoned:
    """A sender that one event ends in a way that is no `Exception`, and that sends all others."""

    def __init__(self, error: BaseException) -> None:
        self.error = error
        self.sent: list[object] = []

    async def send(self, event: OutboxEvent, /) -> None:
        self.sent.append(event.data)
        if event.data == 0:
            raise self.error


@pytest.mark.parametrize("error", [GeneratorExit("out"), SystemExit("out"), KeyboardInterrupt("out")], ids=type)
async def test_an_error_that_is_no_exception_ends_its_event_and_frees_its_place(
    app: Romancy, store: Store, error: BaseException
) -> None:
    sender = Poisoned(error)
    await app.run(publishes_numbers, 0, 4)
    async with relaying(Relay(sender, retry=AT_ONCE, concurrency=1), store):
        found = await ended(store, 4)

    assert sorted(entry.state for entry in found.values()) == [OutboxState.INVALID, *[OutboxState.PUBLISHED] * 3]
    assert sorted(sender.sent) == [0, 1, 2, 3]  # type: ignore[type-var]


class Ignoring:
    """A sender whose call for one event continues after its cancellation, until the test opens the gate."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.attempts: list[int] = []

    async def send(self, event: OutboxEvent, /) -> None:
        if event.data != 0:
            return
        self.attempts.append(event.attempt)
        while not self.gate.is_set():
            with suppress(asyncio.CancelledError):
                await self.gate.wait()


async def test_attempts_that_ignore_their_cancellation_are_counted(app: Romancy, store: Store) -> None:
    """Each keeps its place until its call ends, and the last one that the policy allows ends its event."""
    sender = Ignoring()
    await app.run(publishes_numbers, 0, 3)
    relay = Relay(sender, retry=RetryPolicy.fixed(3, 0.01), concurrency=4, timeout=0.1, lease=0.5)
    async with relaying(relay, store) as at_work:
        found = await ended(store, 3, exactly=True)
        await until(lambda: at_work.holds == 3)  # what was sent frees its place a moment after its commit
        sender.gate.set()
        await until(lambda: at_work.holds == 0)

    (failed,) = [entry for entry in found.values() if entry.state is not OutboxState.PUBLISHED]
    assert (failed.state, failed.attempts, sender.attempts) == (OutboxState.FAILED, 3, [1, 2, 3])
    assert "ignored its cancellation" in (failed.error or "")
