"""The relay: exactly the published events reach the receiver, whatever the receiver does."""

from __future__ import annotations

import asyncio
import json
import random
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import pytest

from romancy import (
    HmacCodec,
    RetryPolicy,
    Romancy,
    TerminalError,
    WorkflowContext,
    activity,
    activity_context,
    workflow,
)
from romancy.outbox import HttpSender, OutboxEvent, Reject, Relay, Retry
from romancy.outbox.running import Relaying
from romancy.storage.backends import create_store
from romancy.storage.outbox import OutboxState
from romancy_conformance.behaviour.calling import calling
from romancy_conformance.behaviour.recording import Recorder, ended, relaying
from romancy_conformance.receiver import Answer, Receiver, Request

if TYPE_CHECKING:
    from romancy.storage.outbox import Consignment
    from romancy.storage.protocol import Store
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

AT_ONCE = RetryPolicy(100, 0.01, 1.5, 0.05)


@activity(retry=RetryPolicy.fixed(3, 0.0))
async def announce(name: str, fails: int = 0) -> None:
    context = activity_context()
    await context.publish("announced", {"name": name, "attempt": context.attempt}, key=name)
    if context.attempt <= fails:
        raise ConnectionError("this attempt announces nothing")


@activity(retry=RetryPolicy.none())
async def count(key: str, number: int) -> None:
    await activity_context().publish("counted", number, key=key)


@activity
async def fail() -> None:
    raise TerminalError("no")


calls_announce = calling(announce)


@workflow
async def counts(ctx: WorkflowContext, key: str, to: int) -> None:
    for number in range(0, to, 2):
        await ctx.publish("counted", number, key=key)
        await count(key, number + 1)


@workflow
async def publishes_and_fails(ctx: WorkflowContext, name: str) -> None:
    await ctx.publish("begun", name)
    await announce(name)
    await fail()


async def test_what_an_activity_publishes_is_sent_by_the_worker_that_runs_it(open_app: Open) -> None:
    async with Receiver() as receiver:
        app = await open_app(relay=Relay(HttpSender(receiver.url), source="/shop"))
        await app.start(calls_announce.options(instance_id="order 1/ü"), "ann")
        await receiver.until(lambda: len(receiver.accepted) == 1)
    (request,) = receiver.accepted
    assert request.headers["content-type"] == "application/cloudevents+json"
    event = request.event
    assert {name: event[name] for name in ("specversion", "type", "source", "subject", "data")} == {
        "specversion": "1.0",
        "type": "announced",
        "source": "/shop/order%201%2F%C3%BC",
        "subject": "ann",
        "data": {"name": "ann", "attempt": 1},
    }


async def test_failed_attempts_send_nothing(app: Romancy, store: Store) -> None:
    recorder = Recorder()
    await app.run(calls_announce, "ann", 2)
    async with relaying(Relay(recorder), store):
        await ended(store, 1)
    assert [event.data for event in recorder.sent] == [{"name": "ann", "attempt": 3}]


async def test_a_retried_workflow_publishes_nothing_twice(app: Romancy, store: Store) -> None:
    handle = await app.start(publishes_and_fails, "ann")
    recorder = Recorder()
    for _ in range(2):
        with pytest.raises(Exception, match="no"):
            await handle.result()
        if not recorder.sent:
            async with relaying(Relay(recorder), store):
                await ended(store, 2)
            await app.retry(handle.instance_id)
    assert sorted(event.type for event in recorder.sent) == ["announced", "begun"]
    assert (await store.services.outbox.counts(most=1000)).states == {OutboxState.PUBLISHED: 2}


async def test_every_attempt_has_the_same_id_and_the_rest_of_its_key_waits(app: Romancy, store: Store) -> None:
    recorder = Recorder(Retry("not now"), ConnectionError("away"), Retry("not yet", after=0.001))
    await app.run(counts, "k", 4)

    async with relaying(Relay(recorder, retry=AT_ONCE), store):
        found = await ended(store, 4)

    first, *_ = recorder.sent
    assert [(event.data, event.attempt) for event in recorder.sent] == [
        (0, 1), (0, 2), (0, 3), (0, 4), (1, 1), (2, 1), (3, 1)
    ]  # fmt: skip
    assert {event.id for event in recorder.sent[:4]} == {first.id}
    assert [entry.attempts for entry in found.values()] == [4, 1, 1, 1]
    assert [entry.error for entry in found.values()] == [None] * 4


@pytest.mark.parametrize(
    ("trouble", "retry", "state", "error"),
    [
        (Reject("of no use"), AT_ONCE, OutboxState.INVALID, "of no use"),
        (TerminalError("never"), AT_ONCE, OutboxState.INVALID, "TerminalError: never"),
        (ConnectionError("away"), RetryPolicy.none(), OutboxState.FAILED, "ConnectionError: away"),
        (Retry("later\x00"), RetryPolicy.none(), OutboxState.FAILED, "later?"),
    ],
)
async def test_an_event_that_cannot_be_sent_ends_and_the_next_goes_on(
    app: Romancy, store: Store, trouble: Exception, retry: RetryPolicy, state: OutboxState, error: str
) -> None:
    recorder = Recorder(trouble)
    await app.run(counts, "k", 2)

    async with relaying(Relay(recorder, retry=retry), store):
        first, second = (await ended(store, 2)).values()

    assert (first.state, first.error, second.state) == (state, error, OutboxState.PUBLISHED)


async def test_an_event_that_is_too_old_expires_unsent(app: Romancy, store: Store) -> None:
    recorder = Recorder()
    await app.run(counts, "k", 2)
    async with relaying(Relay(recorder, max_age=0.000_001), store):
        found = await ended(store, 2)
    assert [(entry.state, entry.attempts) for entry in found.values()] == [(OutboxState.EXPIRED, 0)] * 2
    assert recorder.sent == []

    assert await store.services.outbox.requeue([OutboxState.EXPIRED]) == 2
    async with relaying(Relay(recorder), store):
        await recorder.until(2)


async def test_an_attempt_that_takes_too_long_is_given_up_and_made_again(app: Romancy, store: Store) -> None:
    class Hangs(Recorder):
        async def send(self, event: OutboxEvent, /) -> None:
            await super().send(event)
            if event.attempt == 1:
                await asyncio.Event().wait()

    recorder = Hangs()
    await app.run(calls_announce, "ann")
    async with relaying(Relay(recorder, timeout=0.05, retry=AT_ONCE), store):
        await ended(store, 1)
    assert [event.attempt for event in recorder.sent] == [1, 2]


async def test_a_relay_that_stops_gives_back_what_it_sends(app: Romancy, store: Store) -> None:
    class Hangs(Recorder):
        async def send(self, event: OutboxEvent, /) -> None:
            await super().send(event)
            await asyncio.Event().wait()

    hanging, recorder = Hangs(), Recorder()
    await app.run(calls_announce, "ann")
    at_work = Relaying(Relay(hanging), store.services.outbox)
    task = asyncio.create_task(at_work.run(lambda: 0.0))
    await hanging.until(1)
    at_work.stop()
    await task

    async with relaying(Relay(recorder), store):
        await recorder.until(1)
    assert recorder.sent[0].attempt == 1


async def test_an_event_that_is_claimed_while_the_relay_stops_is_settled(
    app: Romancy, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the event and its key wait for the end of the claim, which takes longer than an attempt may."""
    claiming, stopped = asyncio.Event(), asyncio.Event()
    claim = store.services.outbox.claim

    async def claim_late(*arguments: Any, **options: Any) -> Consignment:
        claiming.set()
        await stopped.wait()
        return await claim(*arguments, **options)

    monkeypatch.setattr(store.services.outbox, "claim", claim_late)
    await app.run(calls_announce, "ann")
    at_work = Relaying(Relay(Recorder()), store.services.outbox)
    task = asyncio.create_task(at_work.run(lambda: 5.0))
    await claiming.wait()
    at_work.stop()
    for _ in range(10):
        await asyncio.sleep(0)
    stopped.set()
    await task

    assert (await store.services.outbox.counts(most=1000)).states == {OutboxState.PUBLISHED: 1}


async def test_published_events_are_kept_as_long_as_the_relay_says(app: Romancy, store: Store) -> None:
    await app.run(calls_announce, "ann")
    async with relaying(Relay(Recorder(), keep=None), store):
        await ended(store, 1)
    async with relaying(Relay(Recorder(), keep=0), store):
        await ended(store, 0, exactly=True)


async def test_sealed_events_are_opened_by_the_relay_of_the_app(open_app: Open, storage_url: str) -> None:
    codec = HmacCodec(b"0" * 32)
    recorder = Recorder()
    publisher = await open_app(codecs=[codec])
    store = create_store(storage_url)
    await store.open()
    await publisher.run(calls_announce, "ann")
    (row,) = await store.services.outbox.read(10)
    assert b'"Encoded"' in row.body

    async with relaying(Relay(recorder, retry=RetryPolicy.none()), store):  # it has no codec
        (entry,) = (await ended(store, 1)).values()
    assert (entry.state, recorder.sent) == (OutboxState.FAILED, [])
    assert "cannot open" in (entry.error or "")

    await store.services.outbox.requeue([OutboxState.FAILED])
    await open_app(codecs=[codec], relay=Relay(recorder))
    await recorder.until(1)
    await store.close()
    assert recorder.sent[0].data == {"name": "ann", "attempt": 1}


# ── an unreliable receiver ──────────────────────────────────────────────────────────────────────────────────────────


class Moody:
    """Answers at random. What it accepts it may still answer wrongly, or not at all."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.got: dict[str, list[tuple[str, int]]] = defaultdict(list)
        """What it has taken in, by key: id and number."""
        self.refused: set[str] = set()

    def answer(self, request: Request) -> Answer:
        event = request.event
        mood = self._random.random()
        if mood < 0.03 and event["id"] not in {one for taken in self.got.values() for one, _ in taken}:
            self.refused.add(event["id"])
            return Answer(400)
        if mood < 0.45:
            return self._trouble(event)
        self._take(event)
        return Answer(self._random.choice([200, 202, 204]))

    def _trouble(self, event: dict[str, Any]) -> Answer:
        if self._random.random() < 0.3:
            self._take(event)  # it is in, and the sender does not learn it
        kind = self._random.choice([429, 500, 503, 408, "hang", "reset"])
        return Answer(kind, {"Retry-After": "0"} if kind == 429 else {})  # type: ignore[arg-type]

    def _take(self, event: dict[str, Any]) -> None:
        self.got[event["subject"]].append((event["id"], event["data"]))


async def test_a_moody_receiver_gets_everything_in_order(open_app: Open, app: Romancy, store: Store) -> None:
    """At least once, in the order of each key, and again only with the same id; two relays send at the same time."""
    keys, to = 12, 8
    moody = Moody(7)
    async with Receiver(moody.answer) as receiver:
        relay = Relay(HttpSender(receiver.url, mode="binary"), retry=AT_ONCE, timeout=0.25, concurrency=8)
        handles = [await app.start(counts, f"k{number}", to) for number in range(keys)]
        handles.append(await app.start(calls_announce, "k0", 3))  # fails for good, and announces nothing
        async with relaying(relay, store), relaying(relay, store):
            for handle in handles[:-1]:
                await handle.result()
            found = await ended(store, keys * to)
    with pytest.raises(Exception, match="announces nothing"):
        await handles[-1].result()

    by_state = {state: {one for one, entry in found.items() if entry.state == state} for state in OutboxState}
    assert by_state[OutboxState.INVALID] == moody.refused
    assert len(found) == keys * to
    for key, taken in moody.got.items():
        numbers = dict(taken)
        assert len(numbers) == len(set(numbers.values())), "one id for each event"
        expected = [
            json.loads(entry.row.body)["data"] for entry in found.values()
            if entry.row.key == key and entry.row.outbox_id not in moody.refused
        ]  # fmt: skip
        assert list(numbers.values()) == sorted(expected)
