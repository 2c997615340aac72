"""What an activity has done is in the log, once, whatever is decided while its end is on the way there."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from romancy import (
    RetryPolicy,
    Romancy,
    Status,
    TerminalError,
    WorkflowCancelledError,
    WorkflowContext,
    WorkflowFailedError,
    activity,
    activity_context,
    compensation,
    workflow,
)
from romancy.core import ActivityCancelled, ActivityCompleted, ActivityScheduled, InputDeferred
from romancy.engine.appending import append_of
from romancy.engine.clock import DatabaseClock
from romancy.engine.instance import Live
from romancy.storage.records import Append, Outcome
from romancy_conformance.behaviour.cast import waits
from romancy_conformance.behaviour.stores import WrappedStore, wrap_stores
from romancy_conformance.behaviour.waiting import status_is, until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.core import Activation, Input
    from romancy.engine.activities.attempt import Attempt
    from romancy.serialization import PayloadContext
    from romancy.storage.protocol import Store
    from romancy.storage.records import Item
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

LONG = 60
NAMES = ("charge", "charge_on_a_thread")

done: Counter[str] = Counter()
"""What was done, less what was undone, by the ids of instances."""
calls: Counter[str] = Counter()
gate = threading.Event()
"""Set when the activity may return."""


@pytest.fixture(autouse=True)
def forget() -> None:
    """Clear the records of the test before."""
    for counted in (done, calls):
        counted.clear()
    gate.clear()


class Writing(WrappedStore):
    """A store that does not write a commit with this text until an end of an attempt waits to be fed."""

    text = b"ActivityCancelRequested"

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.held = False

    async def commit(self, batch: Sequence[Item], /, **options: Any) -> list[Outcome]:
        if not self.held and any(self.text in bytes(item.body) for item in batch):
            self.held = True
            gate.set()
            await until(lambda: bool(ended))
        return await self._store.commit(batch, **options)


ended: list[str] = []
"""The activities whose ends were queued."""


@pytest.fixture
def clock_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the estimate of the database's time fall by a second when the activity has ended."""
    ended.clear()
    now, ends = DatabaseClock.now, Live.ends

    def told(live: Live, attempt: Attempt, event: Input) -> bool:
        reported = ends(live, attempt, event)
        if gate.is_set() and attempt.effect.name in NAMES:
            ended.append(attempt.id)
        return reported

    monkeypatch.setattr(Live, "ends", told)

    def earlier(clock: DatabaseClock) -> int:
        return now(clock) - (1_000_000 if ended else 0)

    monkeypatch.setattr(DatabaseClock, "now", earlier)


@compensation
async def refund() -> None:
    done[activity_context().instance_id] -= 1


@activity(compensation=refund)
async def charge() -> None:
    calls["begun"] += 1
    while not gate.is_set():  # noqa: ASYNC110 - a request to stop must not reach it
        await asyncio.sleep(0)
    done[activity_context().instance_id] += 1


@activity(compensation=refund)
def charge_on_a_thread() -> None:
    calls["begun"] += 1
    gate.wait(LONG)
    done[activity_context().instance_id] += 1


CHARGES = {"coroutine": charge, "thread": charge_on_a_thread}


@activity(retry=RetryPolicy.none())
async def fails() -> None:
    await until(lambda: bool(calls["begun"]))
    raise TerminalError("no")


@workflow
async def charges(ctx: WorkflowContext, by: str) -> None:
    await CHARGES[by]()


@workflow
async def gives_up(ctx: WorkflowContext, by: str) -> None:
    """Its child is cancelled by its time limit."""
    async with asyncio.timeout(2):  # by then the child has begun
        await charges.options(instance_id=f"{ctx.instance_id}.child")(by)


@workflow
async def fails_beside(ctx: WorkflowContext, by: str) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(CHARGES[by]())
        group.create_task(fails())


@pytest.mark.usefixtures("clock_goes_back")
@pytest.mark.parametrize("by", CHARGES)
@pytest.mark.parametrize("how", ["cancel", "a parent's limit", "a sibling's failure"])
async def test_an_activity_that_ends_while_it_is_told_to_stop_has_completed_and_is_undone(
    open_app: Open, monkeypatch: pytest.MonkeyPatch, how: str, by: str
) -> None:
    """Its end waits behind the append that asks it to stop. The engine adds no end of its own."""
    wrap_stores(monkeypatch, Writing)
    app = await open_app()
    instance_id = "i"
    if how == "cancel":
        await app.start(charges.options(instance_id="i"), by)
        await until(lambda: bool(calls["begun"]))
        await app.cancel("i")
    elif how == "a parent's limit":
        await app.start(gives_up.options(instance_id="i"), by)
        instance_id = "i.child"
    else:
        await app.start(fails_beside.options(instance_id="i"), by)
    await status_is(app, instance_id, Status.FAILED if how == "a sibling's failure" else Status.CANCELLED)

    history = await app.history(instance_id)
    assert [e.id for e in history if isinstance(e, ActivityCompleted)] == ended
    assert not [e for e in history if isinstance(e, ActivityCancelled)]
    assert (1, {instance_id: 0}) == (calls["begun"], dict(done))


class OwnsAgain(WrappedStore):
    """A store that refuses the end of an instance, as mail comes, and whose worker asks for all it owns just then."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.refused = 0

    async def commit(self, batch: Sequence[Item], /, **options: Any) -> list[Outcome]:
        ends = [i for i in batch if isinstance(i, Append) and i.change and i.change.status is Status.COMPLETED]
        if ends and not self.refused:
            await senders[-1].signal(ends[0].instance_id, "late")
        outcomes = await self._store.commit(batch, **options)
        if Outcome.UNSEEN in outcomes:
            self.refused += 1
            worker = vars(workers[-1])["_access"].worker
            worker.claiming.look_for_own()
            worker.claiming.look()
        return outcomes


senders: list[Romancy] = []
workers: list[Romancy] = []


@activity
async def once(number: int) -> int:
    calls[f"once {number}"] += 1
    return number


@workflow
async def does_two_things(ctx: WorkflowContext) -> int:
    return await once(1) + await once(2)


async def test_nothing_is_done_again_when_an_end_is_refused_and_all_is_claimed_again(
    open_app: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What happened is written by itself, behind what stands, and then the end is decided anew."""
    senders[:] = [await open_app(worker=False)]
    stores = wrap_stores(monkeypatch, OwnsAgain)
    workers[:] = [await open_app()]
    handle = await workers[-1].start(does_two_things)

    assert await handle.result(timeout=LONG) == 3
    assert stores[-1].refused == 1
    assert {"once 1": 1, "once 2": 1} == dict(calls)
    history = await handle.history()
    (place,) = [place for place, event in enumerate(history) if isinstance(event, InputDeferred)]
    assert getattr(history[place - 1], "id", "") == "once:2"


class CancelsLate(WrappedStore):
    """A store on which a request to cancel comes just before the end of an instance is written."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.refused = 0

    async def commit(self, batch: Sequence[Item], /, **options: Any) -> list[Outcome]:
        ends = [i for i in batch if isinstance(i, Append) and i.change and i.change.status is Status.COMPLETED]
        if ends and not self.refused:
            await senders[-1].cancel(ends[0].instance_id)
        outcomes = await self._store.commit(batch, **options)
        self.refused += Outcome.UNSEEN in outcomes
        return outcomes


async def test_a_cancellation_that_came_before_the_end_was_written_is_heeded(
    open_app: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The body had ended, but nobody was told so. What it had done is undone."""
    gate.set()
    senders[:] = [await open_app(worker=False)]
    stores = wrap_stores(monkeypatch, CancelsLate)
    handle = await (await open_app()).start(charges.options(instance_id="i"), "coroutine")

    with pytest.raises(WorkflowCancelledError):
        await handle.result(timeout=LONG)
    assert stores[-1].refused == 1
    assert (1, {"i": 0}) == (calls["begun"], dict(done))
    scheduled = [event.id for event in await handle.history() if isinstance(event, ActivityScheduled)]
    assert scheduled == ["charge:1"]


class WritesSlowly(Writing):
    """A store that writes the end of the other activity when this one has ended and a request to terminate was read."""

    text = b"beside:1"

    async def commit(self, batch: Sequence[Item], /, **options: Any) -> list[Outcome]:
        if not self.held and any(b"ActivityCompleted" in bytes(i.body) and self.text in bytes(i.body) for i in batch):
            self.held = True
            terminating.append(asyncio.ensure_future(senders[-1].terminate("i")))
            live = vars(workers[-1])["_access"].worker.driver.live["i"]
            await until(lambda: bool(live.inbox.pressing))
            gate.set()
            await until(lambda: bool(ended))
        return await self._store.commit(batch, **options)


terminating: list[asyncio.Future[Any]] = []


@activity
async def beside() -> None:
    await until(lambda: bool(calls["begun"]))


@workflow
async def charges_beside(ctx: WorkflowContext, by: str) -> None:
    await asyncio.gather(beside(), CHARGES[by]())


@pytest.mark.usefixtures("clock_goes_back")
@pytest.mark.parametrize("by", CHARGES)
async def test_a_termination_records_what_has_ended(open_app: Open, monkeypatch: pytest.MonkeyPatch, by: str) -> None:
    terminating.clear()
    senders[:] = [await open_app(worker=False)]
    wrap_stores(monkeypatch, WritesSlowly)
    workers[:] = [await open_app()]
    handle = await workers[-1].start(charges_beside.options(instance_id="i"), by)
    await status_is(workers[-1], "i", Status.CANCELLED)
    await terminating[0]

    history = await handle.history()
    assert {e.id for e in history if isinstance(e, ActivityCompleted)} == {"beside:1", *ended}
    assert calls["begun"] == 1


@activity
async def held() -> str:
    calls["held"] += 1
    await until(gate.is_set)
    return "held"


@workflow
async def starts_a_taken_child(ctx: WorkflowContext) -> list[str]:
    async def child() -> str:
        await once(1)
        try:
            await waits.options(instance_id="taken")()
        except WorkflowFailedError:
            gate.set()
            return "taken"
        return "begun"

    return list(await asyncio.gather(held(), child()))


async def test_attempts_go_on_while_a_refused_start_of_a_child_is_decided_anew(open_app: Open) -> None:
    app = await open_app()
    await app.start(waits.options(instance_id="taken"))
    handle = await app.start(starts_a_taken_child)

    assert await handle.result(timeout=LONG) == ["held", "taken"]
    assert {"held": 1, "once 1": 1} == dict(calls)


async def test_nothing_is_done_again_when_its_consequences_cannot_be_written(
    open_app: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of the engine makes the instance stuck. What was done before is in the log all the same."""
    real = append_of

    def breaks(live: Live, activation: Activation, *args: Any, **options: Any) -> Any:
        if activation.outcome is not None and not calls["broken"]:
            calls["broken"] += 1
            raise RuntimeError("broken")
        return real(live, activation, *args, **options)

    monkeypatch.setattr("romancy.engine.driver.append_of", breaks)
    app = await open_app()
    handle = await app.start(does_two_things)
    await status_is(app, handle.instance_id, Status.STUCK)
    await app.resume(handle.instance_id)

    assert await handle.result(timeout=LONG) == 3
    assert {"once 1": 1, "once 2": 1, "broken": 1} == dict(calls)


class RefusesWords:
    """A codec that cannot encode a word, the first time."""

    id = "refuses"
    hides = False

    def encode(self, data: bytes, _context: PayloadContext, /) -> bytes | None:
        if b"unspeakable" in data and not calls["refused"]:
            calls["refused"] += 1
            raise RuntimeError("cannot be said")
        return None

    def decode(self, data: bytes, _context: PayloadContext, /) -> bytes:
        return data


@workflow
async def says_it(ctx: WorkflowContext) -> str:
    await once(1)
    return "unspeakable"


async def test_nothing_is_done_again_when_a_codec_fails_on_its_consequences(open_app: Open) -> None:
    app = await open_app(codecs=[RefusesWords()])
    handle = await app.start(says_it)
    await status_is(app, handle.instance_id, Status.STUCK)
    await app.resume(handle.instance_id)

    assert await handle.result(timeout=LONG) == "unspeakable"
    assert {"once 1": 1, "refused": 1} == dict(calls)
