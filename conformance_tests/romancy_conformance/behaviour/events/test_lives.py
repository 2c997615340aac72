"""What becomes of events and interests when a receiver times out, is cancelled, ends, recurs, is retried or removed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from romancy import (
    EventTimeoutError,
    EventType,
    Romancy,
    Status,
    TerminalError,
    WorkflowCancelledError,
    WorkflowContext,
    WorkflowFailedError,
    activity,
    activity_context,
    workflow,
)
from romancy.core import MessagePutAside, MessageReceived, MessageSent, Subscribed, WorkflowStarted
from romancy.insight import Note, Timeline
from romancy.query import gte
from romancy.storage.routing import address_of_key, address_of_type
from romancy_conformance.behaviour.cast import waits
from romancy_conformance.behaviour.coded import Masking
from romancy_conformance.behaviour.waiting import status_is, until

if TYPE_CHECKING:
    from romancy.storage.protocol import Store
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

Paid = EventType("paid", int)
may_pass: list[str] = []
begun: list[str] = []


@pytest.fixture(autouse=True)
def forget() -> None:
    """Clear the records of the test before."""
    may_pass.clear()
    begun.clear()


@activity(retry=None)
async def pass_through(name: str) -> str:
    if name not in may_pass:
        raise TerminalError(f"{name} may not pass")
    return name


@activity
async def tell(key: str, amount: int, *, fail_first: bool = False) -> str:
    ctx = activity_context()
    sent = await ctx.send(Paid, amount, key=key)
    if fail_first and ctx.attempt == 1:
        raise ValueError("once more")
    return sent


@workflow
async def waits_or_not(ctx: WorkflowContext, key: str) -> str:
    try:
        event = await ctx.wait_event(Paid, key=key, timeout=0.5)
    except EventTimeoutError:
        return "too late"
    return f"got {event.data}"


@workflow
async def told_then_waits(ctx: WorkflowContext, key: str) -> int:
    await ctx.wait_event("begin")
    return (await ctx.wait_event(Paid, key=key)).data


@workflow
async def gives_up(ctx: WorkflowContext, key: str) -> str:
    """Waits for a key until something else comes, and then for that thing only."""
    wait = asyncio.ensure_future(ctx.wait_event(Paid, key=key))
    await ctx.wait_event("stop")
    wait.cancel()
    await ctx.wait_event("end")
    return "gave up"


@workflow
async def counts(ctx: WorkflowContext, key: str, seen: list[int]) -> list[int]:
    seen = [*seen, (await ctx.wait_event(Paid, key=key)).data]
    if len(seen) == 3:
        return seen
    return counts.recur(key, seen)


@workflow
async def fails_after(ctx: WorkflowContext, key: str) -> list[int]:
    first = await ctx.wait_event(Paid, key=key)
    await ctx.send("noted", first.data, key=key)
    await pass_through(key)
    second = await ctx.wait_event(Paid, key=key)
    return [first.data, second.data]


@workflow
async def listens(ctx: WorkflowContext) -> list[int]:
    await ctx.subscribe(Paid)
    await ctx.wait_event("begin")
    seen = [(await ctx.wait_event(Paid)).data for _ in range(3)]
    await ctx.unsubscribe(Paid)
    return seen


@workflow
async def listens_on(ctx: WorkflowContext, seen: list[int]) -> list[int]:
    if ctx.run == 1:
        await ctx.subscribe(Paid)
    seen = [*seen, (await ctx.wait_event(Paid)).data]
    if len(seen) == 3:
        return seen
    await pass_through("on")
    return listens_on.recur(seen)


@workflow
async def listens_in_its_next_run(ctx: WorkflowContext) -> list[int]:
    if ctx.run == 1:
        await ctx.subscribe(Paid)
        listens_in_its_next_run.recur()
    first = (await ctx.wait_event(Paid)).data
    await pass_through("on")
    await ctx.wait_event("begin")
    return [first, (await ctx.wait_event(Paid)).data]


@workflow
async def sends(ctx: WorkflowContext, key: str) -> str:
    id = await ctx.send(Paid, 1, key=key, headers={"from": "body"})
    await tell(key, 2, fail_first=True)
    return id


@workflow
async def asks_its_friend(ctx: WorkflowContext, friend: str) -> int:
    await ctx.send("question", ctx.instance_id, to=friend)
    return (await ctx.wait_event("answer", model=int)).data


@workflow
async def friend(ctx: WorkflowContext) -> None:
    question = await ctx.wait_event("question", model=str)
    await ctx.send("answer", 42, to=question.data)


@workflow
async def parent(ctx: WorkflowContext) -> Any:
    return await waits("paid", "child")


@workflow
async def typed(ctx: WorkflowContext, key: str) -> int:
    return (await ctx.wait_event("paid", model=int, key=key, timeout=3600)).data


@workflow
async def picks(ctx: WorkflowContext) -> list[int]:
    first = await ctx.wait_event("order", model=dict[str, int], where={"amount": gte(10)})
    second = await ctx.wait_event("order", model=dict[str, int])
    return [first.data["amount"], second.data["amount"]]


async def kept(store: Store, key: str) -> int:
    return len(await store.services.router.kept(address=address_of_key("paid", key)))


async def interested(store: Store, address: str) -> int:
    return len(await store.services.router.interests(address))


async def waiting(app: Romancy, *ids: str) -> None:
    for id in ids:
        await status_is(app, id, Status.WAITING)


async def test_a_wait_that_is_over_leaves_no_interest(app: Romancy, store: Store) -> None:
    ended, cancelled, killed = [await app.start(waits, "paid", f"k{n}") for n in range(3)]
    late = await app.start(waits_or_not, "k3")
    await waiting(app, ended.instance_id, cancelled.instance_id, killed.instance_id)
    assert [await interested(store, address_of_key("paid", f"k{n}")) for n in range(3)] == [1, 1, 1]

    await app.signal(ended.instance_id, Paid, 1, key="k0")
    assert await ended.result(timeout=20) == 1
    await cancelled.cancel()
    with pytest.raises(WorkflowCancelledError):
        await cancelled.result(timeout=20)
    await app.terminate(killed.instance_id)
    with pytest.raises(WorkflowCancelledError):
        await killed.result(timeout=20)
    assert await late.result(timeout=20) == "too late"

    assert [await interested(store, address_of_key("paid", f"k{n}")) for n in range(4)] == [0, 0, 0, 0]
    for n in range(4):
        await app.send(Paid, n, key=f"k{n}")
        assert await app.run(waits, "paid", f"k{n}") == n


async def test_an_event_taken_for_a_wait_that_is_over_goes_to_the_next(app: Romancy, store: Store) -> None:
    handle = await app.start(gives_up, "k")
    await waiting(app, handle.instance_id)
    await app.signal(handle.instance_id, "stop")
    await app.send(Paid, 5, key="k")

    assert await app.run(waits, "paid", "k") == 5
    await app.signal(handle.instance_id, "end")
    assert await handle.result(timeout=20) == "gave up"
    await until(lambda: _none(store, "k"))


async def _none(store: Store, key: str) -> bool:
    return not await kept(store, key)


async def test_a_run_that_continues_as_new_goes_on_with_the_key(app: Romancy) -> None:
    for amount in (1, 2):
        await app.send(Paid, amount, key="k")
    handle = await app.start(counts, "k", [])
    await app.send(Paid, 3, key="k")

    assert await handle.result(timeout=20) == [1, 2, 3]


async def test_a_retry_has_what_was_received_and_waits_for_the_rest(app: Romancy) -> None:
    other = await app.start(waits, "noted", "k")
    handle = await app.start(fails_after, "k")
    await app.send(Paid, 1, key="k")
    with pytest.raises(WorkflowFailedError):
        await handle.result(timeout=20)
    assert await other.result(timeout=20) == 1

    await app.send(Paid, 2, key="k")
    may_pass.append("k")
    await app.retry(handle.instance_id)

    assert await handle.result(timeout=20) == [1, 2]
    history = await app.history(handle.instance_id)
    assert [event.again for event in history if isinstance(event, MessageSent)] == [False, True]


async def test_a_subscription_misses_nothing_between_waits(app: Romancy, store: Store) -> None:
    handle = await app.start(listens)
    await waiting(app, handle.instance_id)
    for amount in (1, 2, 3):
        await app.send(Paid, amount)
    await app.signal(handle.instance_id, "begin")

    assert await handle.result(timeout=20) == [1, 2, 3]
    assert await interested(store, address_of_type("paid")) == 0


async def test_a_subscription_outlives_recur(app: Romancy) -> None:
    may_pass.append("on")
    handle = await app.start(listens_on, [])
    await waiting(app, handle.instance_id)
    for amount in (1, 2, 3):
        await app.send(Paid, amount)

    assert await handle.result(timeout=20) == [1, 2, 3]
    history = await app.history(handle.instance_id)
    assert sum(isinstance(event, Subscribed) for event in history) == 1


@pytest.mark.parametrize("front", [False, True], ids=["a worker", "a front with a codec"])
async def test_a_retry_listens_as_the_failed_run_did_from_its_beginning(open_app: Open, *, front: bool) -> None:
    codecs = [Masking()] if front else []
    app = await open_app(codecs=codecs)
    retrying = await open_app(worker=False, codecs=codecs) if front else app
    handle = await app.start(listens_in_its_next_run)
    await until(lambda: _in_run(app, handle.instance_id, 2))
    await app.send(Paid, 1)
    with pytest.raises(WorkflowFailedError):
        await handle.result(timeout=20)
    may_pass.append("on")
    await retrying.retry(handle.instance_id)
    await until(lambda: _in_run(app, handle.instance_id, 3))
    await waiting(app, handle.instance_id)
    await app.send(Paid, 2)
    await app.signal(handle.instance_id, "begin")

    assert await handle.result(timeout=20) == [1, 2]


async def _in_run(app: Romancy, instance_id: str, run: int) -> bool:
    return any(isinstance(event, WorkflowStarted) and event.run == run for event in await app.history(instance_id))


async def test_workflows_and_activities_send_with_their_commit(app: Romancy) -> None:
    id = await app.run(sends, "k")

    got = await app.run(counts.options(instance_id="all"), "k", [0])  # one from the body, one from the second attempt
    assert got == [0, 1, 2]
    received = [event for event in await app.history("all") if isinstance(event, MessageReceived)]
    assert received[0].message.id == id
    assert received[0].message.headers == {"from": "body"}
    assert received[0].message.source.startswith("/sends/")
    assert received[0].message.sender


async def test_workflows_send_to_each_other(app: Romancy) -> None:
    other = await app.start(friend)

    assert await app.run(asks_its_friend, other.instance_id) == 42


async def test_a_child_waits_for_a_key(app: Romancy) -> None:
    handle = await app.start(parent)
    await app.send(Paid, 8, key="child")

    assert await handle.result(timeout=20) == 8


async def test_an_event_whose_data_do_not_fit_is_put_aside_and_the_next_is_received(
    app: Romancy, caplog: pytest.LogCaptureFixture
) -> None:
    handle = await app.start(typed, "k")
    await app.send("paid", "much", key="k", id="bad")
    await app.send("paid", 5, key="k")

    assert await handle.result(timeout=20) == 5
    (aside,) = [event for event in await app.history(handle.instance_id) if isinstance(event, MessagePutAside)]
    assert (aside.message_id, aside.topic.name) == ("bad", "paid")
    assert "expected int" in aside.reason
    assert any("put aside" in record.message and "'bad'" in record.message for record in caplog.records)


async def test_conditions_choose_among_all_that_is_sent(app: Romancy) -> None:
    handle = await app.start(picks)
    await waiting(app, handle.instance_id)
    await app.send("order", {"amount": 5})
    await app.send("order", {"amount": 20})
    await until(lambda: _received(app, handle.instance_id))
    await waiting(app, handle.instance_id)
    await app.send("order", {"amount": 6})

    assert await handle.result(timeout=20) == [20, 6]


async def _received(app: Romancy, instance_id: str) -> bool:
    return any(isinstance(event, MessageReceived) for event in await app.history(instance_id))


async def test_what_an_instance_waits_for_is_told(app: Romancy) -> None:
    handle = await app.start(picks)
    keyed = await app.start(typed, "k")
    await waiting(app, handle.instance_id, keyed.instance_id)
    await app.send("paid", "much", key="k", id="bad")
    await until(lambda: _received(app, keyed.instance_id))
    await waiting(app, keyed.instance_id)

    assert "the event 'order' with data that meet its conditions" in (await app.explain(handle.instance_id))[0]
    assert "the event 'paid' with the key 'k', at most until" in (await app.explain(keyed.instance_id))[0]
    told = " ".join(await keyed.explain())
    assert "It has put aside the event 'paid' with the id 'bad': " in told
    assert "expected int" in told
    timeline = Timeline.of(await app.history(keyed.instance_id))
    notes = [entry.text for entry in timeline.entries if isinstance(entry, Note)]
    assert any(text.startswith("put aside event paid (id bad): ") for text in notes)
    instance = await app.get_instance(keyed.instance_id, waits=True)
    assert instance is not None
    assert [(wait.kind, wait.name, wait.key) for wait in instance.waits or ()] == [("event", "paid", "k")]


async def test_an_id_used_anew_has_no_interest_of_before(app: Romancy, store: Store) -> None:
    first = await app.start(waits.options(instance_id="x"), "paid", "old")
    await waiting(app, "x")
    await first.cancel()
    with pytest.raises(WorkflowCancelledError):
        await first.result(timeout=20)
    again = await app.start(waits.options(instance_id="x"), "paid", "new", if_exists="restart_ended")
    await waiting(app, "x")

    await app.send(Paid, 1, key="old")
    await app.send(Paid, 2, key="new")
    assert await again.result(timeout=20) == 2
    assert await kept(store, "old") == 1
    await app.purge("x")
    assert await app.run(waits, "paid", "old") == 1


async def test_several_workers_and_senders(open_app: Open) -> None:
    one, two = await open_app(), await open_app()
    sender = await open_app(worker=False)
    handles = [await app.start(waits, "paid", f"k{n}") for n in range(10) for app in (one, two)]
    for _ in range(2):
        await asyncio.gather(*(sender.send(Paid, n, key=f"k{n}") for n in range(10)))

    assert [await handle.result(timeout=20) for handle in handles] == [n for n in range(10) for _ in (one, two)]


async def test_a_drained_worker_leaves_what_it_took_to_others(open_app: Open) -> None:
    one = await open_app()
    handles = [await one.start(told_then_waits, f"k{n}") for n in range(5)]
    for n, handle in enumerate(handles):
        await one.send(Paid, n, key=f"k{n}")
        await one.signal(handle.instance_id, "begin")
    await one.drain(5)
    two = await open_app()

    assert [await two.handle(handle.instance_id).result(timeout=20) for handle in handles] == list(range(5))
