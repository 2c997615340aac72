"""Pausing: nothing new begins, what is at work is recorded, and what comes is kept for the end of the pause."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from romancy import (
    InstanceNotFoundError,
    RequestType,
    Romancy,
    Status,
    UsageError,
    WorkflowCancelledError,
    WorkflowContext,
    WorkflowFailedError,
    activity,
    activity_context,
    workflow,
)
from romancy.core import ActivityCompleted, ActivityScheduled, CancelRequested, MessageReceived, OwnerChanged
from romancy.storage.records import Append, Outcome
from romancy_conformance.behaviour.cast import does, hears, record, sleeps, waits, waits_for_its_child, works
from romancy_conformance.behaviour.gates import logged
from romancy_conformance.behaviour.stores import WrappedStore, wrap_stores
from romancy_conformance.behaviour.waiting import status_is, until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy import Handle
    from romancy.storage.protocol import Store
    from romancy.storage.records import History
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

_MANY = 12
"""So many messages make a log that a claim does not bring."""
A_MOMENT = 0.3
"""Seconds for which nothing happens. If a pause held nothing back, it would be over within them."""


async def pauses_of(handle: Handle[object]) -> list[tuple[str, str]]:
    return [
        (event.pause, event.reason)
        for event in await handle.history()
        if isinstance(event, OwnerChanged) and event.pause
    ]


async def taken(app: Romancy) -> None:
    """Wait until the worker of the app has heard that an instance is to pause."""
    worker = app._access.worker  # pyright: ignore[reportPrivateUsage] - nothing outside tells it
    assert worker is not None
    await until(lambda: bool(worker.driver.pausing.asked))


class Overtaken(WrappedStore):
    """A store in which something else happens right behind the next look at an instance."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.by: Callable[[], Awaitable[object]] | None = None
        """Happens behind a look at the row."""
        self.by_now: Callable[[], Awaitable[object]] | None = None
        """Happens behind a look at the end of the log, so right before the append."""
        self.free_to_write = asyncio.Event()
        self.free_to_write.set()
        self.free = asyncio.Event()
        self.free.set()
        self.waits = asyncio.Event()
        """Set when a log is to be read that is not free."""

    async def read(self, instance_id: str, /, **options: Any) -> History | None:
        if not self.free.is_set() and options.get("limit") != 0:
            self.waits.set()
            await self.free.wait()
        found = await self._store.read(instance_id, **options)
        if self.by is not None and options.get("limit") == 0:
            by, self.by = self.by, None
            await by()
        if self.by_now is not None and options.get("limit") != 0:
            by, self.by_now = self.by_now, None
            await by()
        return found

    async def commit(self, batch: Any, /, **options: Any) -> list[Outcome]:
        if any(one.change is not None for one in batch if isinstance(one, Append) and one.create is None):
            await self.free_to_write.wait()
        outcomes: list[Outcome] = await self._store.commit(batch, **options)
        return outcomes


@activity
async def pays(what: str) -> str:
    """Writes in its transaction, and waits at its gate before it returns."""
    await activity_context().publish("paid", what)
    record.calls.append((f"pay {what}", ""))
    await record.gates[what].wait()
    return what


@workflow
async def pays_twice(ctx: WorkflowContext) -> list[str]:
    return [await pays("one"), await pays("two")]


@workflow
async def side_by_side(ctx: WorkflowContext) -> list[str]:
    steps = [does_step(each) for each in ("left", "right")]
    return [*await asyncio.gather(*steps), await does_step("after")]


@activity
async def does_step(what: str) -> str:
    record.calls.append((what, ""))
    await record.gates[what].wait()
    return what


async def test_what_is_at_work_is_recorded_and_nothing_new_begins(app: Romancy) -> None:
    handle = await app.start(side_by_side.options(instance_id="p"))
    await until(lambda: {"left", "right"} <= set(record.names()))
    assert not await handle.pause("the bank is down")
    await taken(app)
    assert await handle.status() is Status.RUNNING
    record.gates["left"].set()
    await logged(handle, ActivityCompleted)
    assert await handle.status() is Status.RUNNING
    assert any("pause" in one and "the bank is down" in one for one in await handle.explain())
    record.gates["right"].set()
    await status_is(app, "p", Status.PAUSED)
    assert "after" not in record.names()
    assert sum(isinstance(event, ActivityCompleted) for event in await handle.history()) == 2
    assert sum(isinstance(event, ActivityScheduled) for event in await handle.history()) == 2
    found = await app.get_instance("p")
    assert found is not None
    assert found.error == "the bank is down"
    assert "because: the bank is down" in (await handle.explain())[0]
    assert [one.instance_id for one in (await app.list_instances(status="paused")).instances] == ["p"]
    record.gates["after"].set()
    await handle.unpause()
    assert await handle.result(timeout=30) == ["left", "right", "after"]
    assert record.names() == ["left", "right", "after"]
    assert await pauses_of(handle) == [("begins", "the bank is down"), ("ends", "")]


async def test_mail_and_timers_are_kept_and_take_effect_in_their_order(app: Romancy) -> None:
    waiting = await app.start(hears.options(instance_id="w"), count=3)
    asleep = await app.start(sleeps.options(instance_id="s"), 1.9)
    await status_is(app, "w", Status.WAITING)
    assert await waiting.pause()
    for number in range(3):
        await waiting.signal("go", number)
    await asleep.pause("later")
    await status_is(app, "s", Status.PAUSED)
    await asyncio.sleep(A_MOMENT + 1.9)  # its sleep is over
    assert (await waiting.status(), await asleep.status()) == (Status.PAUSED, Status.PAUSED)
    await waiting.unpause()
    await asleep.unpause()
    assert await waiting.result(timeout=30) == [0, 1, 2]
    await asleep.result(timeout=30)


async def test_an_app_without_a_worker_pauses_what_nobody_has_begun_and_what_a_dead_worker_left(
    app: Romancy, open_app: Open
) -> None:
    await app.start(does.options(instance_id="d"), ["gate a", "b"])
    await until(lambda: "gate a" in record.names())
    client = await open_app(worker=False)
    later = await client.start(waits.options(instance_id="later", delay=3600))
    assert await client.pause("later", reason="not yet")
    assert not await client.pause("d")
    await app.drain(0)
    record.gates["gate a"].set()
    other = await open_app()
    await status_is(other, "d", Status.PAUSED)
    assert record.names() == ["gate a"]  # the new worker has begun no attempt
    await later.signal("go")
    await asyncio.sleep(A_MOMENT)
    assert await later.status() is Status.PAUSED
    await client.unpause("d")
    await client.unpause("later")
    assert await other.handle("d").result(timeout=30) == ["gate a", "b"]
    await other.handle("later").result(timeout=30)


async def test_a_pause_that_is_taken_back_before_it_begins(app: Romancy) -> None:
    handle = await app.start(side_by_side.options(instance_id="t"))
    await until(lambda: {"left", "right"} <= set(record.names()))
    await handle.pause("a mistake")
    await taken(app)
    record.gates["left"].set()
    await logged(handle, ActivityCompleted)
    await handle.unpause()
    record.gates["after"].set()
    record.gates["right"].set()
    assert await handle.result(timeout=30) == ["left", "right", "after"]
    assert sorted(record.names()) == ["after", "left", "right"]


async def test_the_transaction_of_an_attempt_at_work_commits(app: Romancy) -> None:
    handle = await app.start(pays_twice.options(instance_id="tx"))
    await until(lambda: "pay one" in record.names())
    await handle.pause()
    await taken(app)
    record.gates["one"].set()
    record.gates["two"].set()
    await status_is(app, "tx", Status.PAUSED)
    await handle.unpause()
    assert await handle.result(timeout=30) == ["one", "two"]
    assert record.names() == ["pay one", "pay two"]


async def test_a_cancellation_waits_for_the_end_of_the_pause_and_a_termination_does_not(app: Romancy) -> None:
    handle = await app.start(does.options(instance_id="c"), ["charge it", "gate g", "wait go"])
    await until(lambda: "gate g" in record.names())
    await handle.pause()
    await taken(app)
    record.gates["gate g"].set()
    await status_is(app, "c", Status.PAUSED)
    assert await handle.cancel("enough")
    await asyncio.sleep(A_MOMENT)
    assert await handle.status() is Status.PAUSED
    assert record.names() == ["charge it", "gate g"]
    await handle.unpause()
    with pytest.raises(WorkflowCancelledError):
        await handle.result(timeout=30)
    assert record.names()[-1] == "refund charge it"
    ended = await app.start(waits.options(instance_id="e"))
    await status_is(app, "e", Status.WAITING)
    await ended.pause()
    assert await app.terminate("e")
    assert await ended.status() is Status.CANCELLED


async def test_a_cancellation_that_was_sent_before_the_pause_goes_first(app: Romancy, open_app: Open) -> None:
    at_work = await app.start(does.options(instance_id="c1"), ["charge it", "gate g", "wait go"])
    resting = await app.start(does.options(instance_id="c2"), ["charge it too", "wait go"])
    await until(lambda: "gate g" in record.names())
    await status_is(app, "c2", Status.WAITING)
    await app.drain(0)  # nobody takes in what is sent now
    client = await open_app(worker=False)
    for each in ("c1", "c2"):
        assert await client.cancel(each, reason="enough")
        assert not await client.pause(each)
    later = await open_app()
    for each in ("c1", "c2"):
        await status_is(later, each, Status.PAUSED)
        (asked,) = [event for event in await later.history(each) if isinstance(event, CancelRequested)]
        assert asked.reason == "enough"
    await asyncio.sleep(A_MOMENT)
    assert not [name for name in record.names() if name.startswith("refund")]
    for handle in (at_work, resting):
        await client.unpause(handle.instance_id)
        with pytest.raises(WorkflowCancelledError):
            await later.handle(handle.instance_id).result(timeout=30)
    assert sorted(name for name in record.names() if name.startswith("refund")) == [
        "refund charge it", "refund charge it too",
    ]  # fmt: skip


ASKED: RequestType[None, str] = RequestType("asked", None, str)


@workflow
async def asks_another(ctx: WorkflowContext, whom: str) -> str:
    return await ctx.instance(whom).request(ASKED)


@workflow
async def awaits_another(ctx: WorkflowContext, whom: str) -> Any:
    return await ctx.instance(whom).result(waits)


@workflow
async def answers(ctx: WorkflowContext) -> None:
    request = await ctx.wait_request(ASKED)
    record.calls.append(("asked", ""))
    await request.reply((await ctx.wait_event("say")).data)
    await ctx.wait_request(ASKED)


async def test_a_body_that_waits_for_another_instance_is_paused_and_asks_once(app: Romancy) -> None:
    await app.start(answers.options(instance_id="other"))
    await app.start(waits.options(instance_id="ends"))
    asks = await app.start(asks_another.options(instance_id="asks"), "other")
    awaits = await app.start(awaits_another.options(instance_id="awaits"), "ends")
    await until(lambda: "asked" in record.names())
    await until(lambda: _exists(app, "awaits"))
    for each in (asks, awaits):
        await each.pause("not now")
        await status_is(app, each.instance_id, Status.PAUSED)
    await app.signal("other", "say", "hello")
    await app.signal("ends", "go", 7)
    assert await app.handle("ends").result(timeout=30) == 7
    await asyncio.sleep(A_MOMENT)
    assert (await asks.status(), await awaits.status()) == (Status.PAUSED, Status.PAUSED)
    for each in (asks, awaits):
        await each.unpause()
    assert await asks.result(timeout=30) == "hello"
    assert await awaits.result(timeout=30) == 7
    assert record.names() == ["asked"]
    for each in (asks, awaits):
        assert sum(isinstance(event, ActivityScheduled) for event in await each.history()) == 1


async def test_a_compensation_at_work_is_recorded_and_no_further_one_begins(app: Romancy) -> None:
    gate = record.gates["refund charge b"]
    handle = await app.start(does.options(instance_id="k"), ["charge a", "charge b", "wait go"])
    await status_is(app, "k", Status.WAITING)
    await handle.cancel()
    await until(lambda: "refund charge b" in record.names())
    await handle.pause()
    await taken(app)
    gate.set()
    await status_is(app, "k", Status.PAUSED)
    assert record.names() == ["charge a", "charge b", "refund charge b"]
    await handle.unpause()
    with pytest.raises(WorkflowCancelledError):
        await handle.result(timeout=30)
    assert record.names() == ["charge a", "charge b", "refund charge b", "refund charge a"]


async def test_a_paused_child_holds_up_its_parent_only_by_its_end(app: Romancy) -> None:
    parent = await app.start(waits_for_its_child.options(instance_id="parent"))
    await until(lambda: _exists(app, "child"))
    await status_is(app, "child", Status.WAITING)
    await app.pause("child")
    await app.signal("child", "go", "done")
    await status_is(app, "parent", Status.WAITING)
    await parent.pause()
    await app.unpause("child")
    await app.handle("child").result(timeout=30)
    assert await parent.status() is Status.PAUSED
    await parent.unpause()
    assert await parent.result(timeout=30) == "done"


async def _exists(app: Romancy, instance_id: str) -> bool:
    return await app.get_instance(instance_id) is not None


async def test_a_pause_that_another_or_a_worker_has_overtaken_looks_again(
    app: Romancy, open_app: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores = wrap_stores(monkeypatch, Overtaken)
    client = await open_app(worker=False)
    twice = await app.start(waits.options(instance_id="o"))
    taken_up = await app.start(does.options(instance_id="up"), ["wait go", "gate a"])
    for each in ("o", "up"):
        await status_is(app, each, Status.WAITING)
    stores[0].by = twice.pause
    with pytest.raises(UsageError, match="paused already"):
        await client.pause("o")
    stores[0].by = twice.unpause
    with pytest.raises(UsageError, match="only a paused one can be unpaused"):
        await client.unpause("o")
    assert await pauses_of(twice) == [("begins", ""), ("ends", "")]

    async def begins() -> None:
        await taken_up.signal("go")
        await until(lambda: "gate a" in record.names())

    stores[0].by = begins
    assert not await client.pause("up")
    record.gates["gate a"].set()
    await status_is(app, "up", Status.PAUSED)
    assert sum(isinstance(event, ActivityCompleted) for event in await taken_up.history()) == 1
    await client.unpause("up")
    assert await taken_up.result(timeout=30) == [None, "gate a"]
    await twice.signal("go")
    await twice.result(timeout=30)


async def test_an_instance_that_a_worker_has_claimed_before_the_append_is_asked(
    app: Romancy, open_app: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = await app.start(does.options(instance_id="claimed"), ["wait go", "gate a"])
    await status_is(app, "claimed", Status.WAITING)
    await app.drain(0)
    stores = wrap_stores(monkeypatch, Overtaken)
    client = await open_app(worker=False)
    other = await open_app()

    async def is_owned() -> bool:
        found = await stores[0].read("claimed", limit=0)
        return found is not None and found.instance.owner is not None

    async def is_claimed() -> None:
        stores[1].free_to_write.clear()
        await client.signal("claimed", "go")
        await until(is_owned)

    stores[0].by_now = is_claimed
    assert not await client.pause("claimed", reason="why")
    stores[1].free_to_write.set()
    record.gates["gate a"].set()
    await status_is(other, "claimed", Status.PAUSED)
    await client.unpause("claimed")
    assert await other.handle("claimed").result(timeout=30) == [None, "gate a"]
    assert record.names() == ["gate a"]
    assert await pauses_of(handle) == [("begins", "why"), ("ends", "")]


async def test_an_unpause_that_meets_an_owner_waits_until_it_has_let_go(
    app: Romancy, open_app: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Owned(WrappedStore):
        """A worker owns the instance whenever something is to be written from outside, so many times."""

        times = 2

        async def commit(self, batch: Any, /, **options: Any) -> list[Outcome]:
            (change,) = [one.change for one in batch]
            if change is not None and change.unowned and self.times:
                self.times -= 1
                return [Outcome.OWNED]
            outcomes: list[Outcome] = await self._store.commit(batch, **options)
            return outcomes

    stores = wrap_stores(monkeypatch, Owned)
    client = await open_app(worker=False)
    handle = await app.start(waits.options(instance_id="own"))
    await status_is(app, "own", Status.WAITING)
    assert await client.pause("own")
    assert stores[0].times == 0
    stores[0].times = 2
    await client.unpause("own")
    assert stores[0].times == 0
    await handle.signal("go", 3)
    assert await handle.result(timeout=30) == 3


async def test_a_worker_that_still_reads_the_log_of_an_instance_is_asked_to_pause_it(
    app: Romancy, open_app: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = await app.start(hears.options(instance_id="h"), count=_MANY + 2)
    for number in range(_MANY):
        await handle.signal("go", number)
        await until(partial(_has_heard, handle, number + 1))
    await status_is(app, "h", Status.WAITING)
    await app.drain(0)
    stores = wrap_stores(monkeypatch, Overtaken)
    client = await open_app(worker=False)
    await open_app()

    async def is_claimed() -> None:
        stores[1].free.clear()
        await client.signal("h", "go", _MANY)
        await stores[1].waits.wait()

    stores[0].by = is_claimed
    assert not await client.pause("h")
    stores[1].free.set()
    await status_is(client, "h", Status.PAUSED)
    await client.signal("h", "go", _MANY + 1)
    await client.unpause("h")
    assert await client.handle("h").result(timeout=30) == list(range(_MANY + 2))
    assert await pauses_of(client.handle("h", hears)) == [("begins", ""), ("ends", "")]


async def _has_heard(handle: Handle[Any], count: int) -> bool:
    return sum(isinstance(event, MessageReceived) for event in await handle.history()) == count


async def test_what_cannot_be_paused_or_unpaused_is_told_and_nothing_is_written(app: Romancy) -> None:
    handle = await app.start(waits.options(instance_id="u"))
    await status_is(app, "u", Status.WAITING)
    with pytest.raises(UsageError, match="is waiting; only a paused one can be unpaused"):
        await handle.unpause()
    await handle.pause("first")
    before = await handle.history()
    with pytest.raises(UsageError, match="paused already because first; unpause it first"):
        await handle.pause("second")
    with pytest.raises(UsageError, match="unpause lets a paused one go on"):
        await handle.resume()
    assert await handle.history() == before
    await handle.unpause()
    await handle.signal("go")
    await handle.result(timeout=30)
    for call in (handle.pause(), handle.unpause()):
        with pytest.raises(UsageError, match="completed"):
            await call
    for call in (app.pause("nobody"), app.unpause("nobody")):
        with pytest.raises(InstanceNotFoundError):
            await call


async def test_many_are_paused_and_unpaused_and_a_start_can_be_paused(app: Romancy) -> None:
    for number in range(3):
        await app.start(waits.options(instance_id=f"m-{number}"))
        await status_is(app, f"m-{number}", Status.WAITING)
    held = await app.start(works.options(instance_id="held", paused=True), "held")
    assert await held.status() is Status.PAUSED
    assert sorted(await app.pause_many(workflow_name="waits", reason="bank")) == ["m-0", "m-1", "m-2"]
    assert await app.pause_many(workflow_name="waits") == []
    with pytest.raises(UsageError, match="pause_many pauses open instances that can go on, not completed ones"):
        await app.pause_many(status="completed")
    await app.start(works.options(instance_id="beside"), "beside")
    await app.handle("beside").result(timeout=30)
    assert record.names() == ["beside"]
    assert sorted(await app.unpause_many(everything=True)) == ["held", "m-0", "m-1", "m-2"]
    assert await held.result(timeout=30) == "held"
    await app.signal("m-0", "go", 1)
    assert await app.handle("m-0").result(timeout=30) == 1


async def test_a_start_in_a_session_or_by_a_signal_can_be_paused_and_a_child_cannot(
    app: Romancy, open_app: Open
) -> None:
    client = await open_app(worker=False)
    by_signal = await client.signal_with_start(waits.options(instance_id="sig", paused=True).bind(), "go", 7)
    assert await by_signal.status() is Status.PAUSED
    (many,) = await client.start_many([works.options(instance_id="one", paused=True).bind("one")])
    assert await many.status() is Status.PAUSED
    parent = await app.start(starts_paused)
    with pytest.raises(WorkflowFailedError, match="paused=True, which is for starts from outside"):
        await parent.result(timeout=30)
    await client.unpause("sig")
    assert await app.handle("sig").result(timeout=30) == 7
    await client.unpause("one")
    assert await app.handle("one").result(timeout=30) == "one"
    with pytest.raises(UsageError, match="must be True or False"):
        works.options(paused="yes")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType] - as untyped code does


@workflow
async def starts_paused(ctx: WorkflowContext) -> None:
    await waits.options(paused=True)()
