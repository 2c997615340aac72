"""Workers that cannot beat: a lease that runs out stops what runs, a blocked event loop is named and outlived."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from romancy import Romancy, Status, WorkflowCancelledError, WorkflowContext, activity, activity_context, workflow
from romancy.core import ActivityCancelled, ActivityCompleted, Input, OwnerChanged
from romancy.errors import StorageUnavailableError
from romancy_conformance.behaviour.calling import calling
from romancy_conformance.behaviour.cast import returns
from romancy_conformance.behaviour.faults.program import LEDGER, faulty_line
from romancy_conformance.behaviour.stores import WrappedStore, wrap_stores
from romancy_conformance.behaviour.waiting import status_is, until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from romancy.storage.protocol import Store
    from romancy_conformance.behaviour.faults.field import Field

pytestmark = pytest.mark.anyio

LEASE = 1.5
seen: list[str] = []


@pytest.fixture(autouse=True)
def forget() -> None:
    """Clear the records of the test before."""
    seen.clear()


@activity
async def outlives_its_lease() -> int:
    seen.append("begun")
    try:
        if len(seen) == 1:
            await asyncio.Event().wait()
    except asyncio.CancelledError:
        seen.append("stopped")
        raise
    return activity_context().attempt


calls_outlives_its_lease = calling(outlives_its_lease)


@activity
async def hogs_the_loop(seconds: float) -> None:
    time.sleep(seconds)  # noqa: ASYNC251 - the very thing nobody should do


calls_hogs_the_loop = calling(hogs_the_loop)


class Deaf(WrappedStore):
    """A store whose heartbeats get no answer while it is cut off."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.deaf = False
        self.beaten_at = 0.0
        """When the last answered heartbeat was sent."""

    async def heartbeat(self, *args: Any, **kwargs: Any) -> Any:
        if self.deaf:
            raise StorageUnavailableError("nobody answers")
        sent = time.monotonic()
        pulse = await self._store.heartbeat(*args, **kwargs)
        self.beaten_at = sent
        return pulse


@activity
async def notes(number: int) -> None:
    seen.append(f"noted {number}")


@workflow
async def notes_two(ctx: WorkflowContext) -> None:
    await notes(1)
    await notes(2)


@activity
def notes_on_a_thread() -> None:
    seen.append("noted")


calls_notes_on_a_thread = calling(notes_on_a_thread)


class Slow(Deaf):
    """A store that keeps the appends back that follow an effect, as long as its gate is closed."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.gate = asyncio.Event()

    async def commit(self, *args: Any, **kwargs: Any) -> Any:
        if seen:
            await self.gate.wait()
        return await self._store.commit(*args, **kwargs)


class Held(Deaf):
    """A store whose claims, or the reads of logs that follow them, are answered late, as long as its gate is closed."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.holds = ""
        """What is held: `claim` or `read`."""
        self.held = asyncio.Event()
        self.gate = asyncio.Event()
        self.claims = 0
        """How many claims were answered."""
        self.fails = False
        """Whether the next claim fails. A worker then asks for all that it owns."""

    async def claim(self, *args: Any, **kwargs: Any) -> Any:
        if self.fails:
            self.fails = False
            raise StorageUnavailableError("nobody answers")
        work = await self._store.claim(*args, **kwargs)
        if work.claimed and self.holds:
            work.claimed[:] = [replace(claimed, log=()) for claimed in work.claimed]
            await self._hold("claim")
        self.claims += 1
        return work

    async def read(self, *args: Any, **kwargs: Any) -> Any:
        if self.holds == "read":
            await self._hold("read")
        return await self._store.read(*args, **kwargs)

    async def commit(self, batch: Any, *args: Any, **kwargs: Any) -> Any:
        outcomes = await self._store.commit(batch, *args, **kwargs)
        if self.holds == "trial" and any(b'"tried"' in item.body for item in batch):
            self.holds = "read"  # of the log, behind the mark of the trial
        return outcomes

    async def _hold(self, what: str) -> None:
        if what == self.holds:
            self.held.set()
            await self.gate.wait()


finish: list[asyncio.Event] = []
"""The event for which `lasts` waits."""


@activity
async def lasts() -> None:
    seen.append("begun")
    await finish[0 if len(seen) == 1 else -1].wait()


calls_lasts = calling(lasts)


@workflow
async def lasting_twice(ctx: WorkflowContext) -> None:
    await lasts()
    await ctx.wait_event("go on")
    await lasts()


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> list[Held]:
    """The stores of the apps opened from here on."""
    return wrap_stores(monkeypatch, Held)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> list[Slow]:
    """The stores of the apps opened from here on."""
    return wrap_stores(monkeypatch, Slow)


@pytest.fixture
def deaf(monkeypatch: pytest.MonkeyPatch) -> list[Deaf]:
    """The stores of the apps opened from here on."""
    return wrap_stores(monkeypatch, Deaf)


async def test_what_runs_stops_when_the_lease_runs_out_and_begins_again_untold(
    deaf: list[Deaf], open_app: Callable[..., Awaitable[Romancy]], caplog: pytest.LogCaptureFixture
) -> None:
    app = await open_app(lease=LEASE)
    handle = await app.start(calls_outlives_its_lease)
    await until(lambda: seen == ["begun"])

    deaf[0].deaf = True
    await until(lambda: "stopped" in seen)
    assert time.monotonic() - deaf[0].beaten_at >= LEASE * 0.9
    assert "the lease has expired" in caplog.text
    other = await app.start(calls_outlives_its_lease)
    await asyncio.sleep(0.3)
    assert seen == ["begun", "stopped"]

    deaf[0].deaf = False
    assert [1, 1] == [await handle.result(timeout=60), await other.result(timeout=60)]
    log = [event for event in await handle.history() if isinstance(event, Input)]
    assert [ActivityCompleted] == [type(event) for event in log[1:] if not isinstance(event, OwnerChanged)]


async def test_what_was_done_is_not_done_again_while_its_append_is_under_way(
    slow: list[Slow], open_app: Callable[..., Awaitable[Romancy]], caplog: pytest.LogCaptureFixture
) -> None:
    app = await open_app(lease=LEASE)
    handle = await app.start(notes_two)
    await until(lambda: seen == ["noted 1"])

    slow[0].deaf = True
    await until(lambda: "the lease has expired" in caplog.text)
    slow[0].deaf = False
    await asyncio.sleep(3 * LEASE)  # the worker may claim what it owns, and its append is still under way
    assert seen == ["noted 1"]

    slow[0].gate.set()
    await handle.result(timeout=60)
    assert seen == ["noted 1", "noted 2"]
    assert "another worker has it" not in caplog.text


async def test_what_was_done_before_a_lapse_is_not_cancelled_without_effect_after_it(
    slow: list[Slow], open_app: Callable[..., Awaitable[Romancy]], caplog: pytest.LogCaptureFixture
) -> None:
    """Its end is in an append that the database refuses, because a request to cancel came before."""
    outside = await open_app(worker=False)
    await open_app(lease=LEASE)
    handle = await outside.start(calls_notes_on_a_thread)
    await until(lambda: seen == ["noted"])
    slow[1].deaf = True
    await until(lambda: "the lease has expired" in caplog.text)
    assert await outside.cancel(handle.instance_id)
    slow[1].deaf = False
    slow[1].gate.set()
    slow[0].gate.set()
    with pytest.raises(WorkflowCancelledError):
        await handle.result(timeout=60)

    history = await outside.history(handle.instance_id)
    done = [each for each in history if isinstance(each, ActivityCompleted)]
    cancelled = [each.unknown for each in history if isinstance(each, ActivityCancelled)]
    assert (len(done), cancelled) in ((1, []), (0, [True])), "done once more, or asked to stop before that"


@pytest.mark.parametrize("what", ["claim", "read"])
async def test_what_was_claimed_before_a_death_is_not_driven_after_it(
    held: list[Held], open_app: Callable[..., Awaitable[Romancy]], caplog: pytest.LogCaptureFixture, what: str
) -> None:
    finish[:] = [asyncio.Event()]
    front = await open_app(worker=False)
    await open_app(lease=LEASE)
    first = held[1]
    first.holds = what
    handle = await front.start(calls_lasts)
    await first.held.wait()
    first.deaf = True
    await open_app(lease=LEASE)
    await until(lambda: seen == ["begun"])  # by the second worker, which has taken over

    first.deaf = False
    await until(lambda: "declared dead" in caplog.text)
    first.holds = ""
    first.gate.set()
    claims = first.claims
    while first.claims < claims + 3:
        await front.run(returns)
    assert seen == ["begun"]

    finish[0].set()
    await handle.result(timeout=60)
    assert seen == ["begun"]
    assert "another worker has it" not in caplog.text


async def test_what_was_released_while_a_claim_was_answered_is_not_driven(
    held: list[Held], open_app: Callable[..., Awaitable[Romancy]], caplog: pytest.LogCaptureFixture
) -> None:
    finish[:] = [asyncio.Event(), asyncio.Event()]
    front = await open_app(worker=False)
    await open_app()
    first = held[1]
    handle = await front.start(lasting_twice)
    await until(lambda: seen == ["begun"])
    first.holds, first.fails = "claim", True
    unseen = await front.start(returns)
    await first.held.wait()  # the answer says that the first worker owns the instance

    finish[0].set()
    await status_is(front, handle.instance_id, Status.WAITING)
    await open_app()
    await front.signal(handle.instance_id, "go on")
    await until(lambda: seen == ["begun"] * 2)
    first.holds = ""
    first.gate.set()
    claims = first.claims
    while first.claims < claims + 3:
        await front.run(returns)
    assert seen == ["begun"] * 2

    finish[1].set()
    await asyncio.gather(handle.result(timeout=60), unseen.result(timeout=60))
    assert seen == ["begun"] * 2
    assert "another worker has it" not in caplog.text


async def test_a_claim_passes_over_what_is_being_taken_up_for_its_trial(
    held: list[Held], open_app: Callable[..., Awaitable[Romancy]], caplog: pytest.LogCaptureFixture
) -> None:
    finish[:] = [asyncio.Event(), asyncio.Event()]
    front = await open_app(worker=False)
    await open_app(lease=LEASE)
    handle = await front.start(calls_lasts)
    await until(lambda: seen == ["begun"])
    await open_app(lease=LEASE)
    held[1].deaf = True  # the first owner is lost
    await until(lambda: seen == ["begun"] * 2)
    await open_app(lease=LEASE)
    held[2].deaf = True  # and the second one
    last = held[3]
    last.holds = "trial"
    await last.held.wait()  # the third worker has marked the trial, and reads the log

    last.holds, last.fails = "", True
    claims = last.claims
    while last.claims < claims + 3:
        await front.run(returns)
    assert seen == ["begun"] * 2
    last.gate.set()
    await until(lambda: seen == ["begun"] * 3)
    finish[1].set()
    await handle.result(timeout=60)
    assert seen == ["begun"] * 3
    assert "another worker has it" not in caplog.text


async def test_the_activity_that_blocks_the_loop_is_named(
    open_app: Callable[..., Awaitable[Romancy]], caplog: pytest.LogCaptureFixture
) -> None:
    app = await open_app(warn_when_blocked=0.2)
    with caplog.at_level(logging.WARNING, logger="romancy.engine"):
        await app.run(calls_hogs_the_loop, 1.5)
        await until(lambda: "was blocked for" in caplog.text)

    assert "blocked for more than 0.2 s" in caplog.text
    assert "in hogs_the_loop" in caplog.text


async def test_a_loop_that_is_not_blocked_is_not_named(
    open_app: Callable[..., Awaitable[Romancy]], caplog: pytest.LogCaptureFixture
) -> None:
    app = await open_app(warn_when_blocked=3.0)
    await app.run(calls_hogs_the_loop, 0.0)
    await asyncio.sleep(4.5)

    assert "blocked" not in caplog.text


def block_the_loop(field: Field, seconds: float) -> None:
    """Block the event loop, as no code should, until another worker continues its work, but no longer."""
    until_when = time.monotonic() + seconds
    while time.monotonic() < until_when:
        time.sleep(0.1)
        if len({entry.pid for entry in field.ledger.read() if entry.instance_id == "hogged"}) > 1:
            return


@pytest.mark.parametrize("second_heart", [True, False], ids=["with a second heart", "without"])
async def test_a_blocked_loop_keeps_its_lease(
    field: Field, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, second_heart: bool
) -> None:
    """Another worker waits to take over; only the heartbeat beside the blocked loop prevents that."""
    monkeypatch.setenv(LEDGER, str(tmp_path / "ledger"))
    lease = 3 * LEASE  # the machine may stand still for a while, which must not cost the lease
    other = await field.worker("--lease", str(lease), "--elsewhere")
    options: dict[str, Any] = {} if second_heart else {"warn_when_blocked": None}
    async with Romancy(field.url, workflows=[faulty_line], lease=lease, **options) as app:
        handle = await app.start(faulty_line.options(instance_id="hog"), 1, 0.5)
        await field.begun(1)
        await field.acquainted([other])
        handle = await app.start(faulty_line.options(instance_id="hogged"), 1, 0.5)
        await field.begun(3)
        block_the_loop(field, 2 * lease if second_heart else 60)
        await handle.result(timeout=60)

    assert second_heart == (await field.owners("hogged") == [])


@activity
async def takes_a_while(number: int) -> int:
    await asyncio.sleep(0.2)
    return number


@workflow
async def goes_on(ctx: WorkflowContext, steps: int) -> int:
    return sum([await takes_a_while(number) for number in range(steps)])


async def test_workers_that_lose_their_leases_again_and_again_lose_nothing_else(
    deaf: list[Deaf], open_app: Callable[..., Awaitable[Romancy]]
) -> None:
    front = await open_app(worker=False)
    for _ in range(3):
        await open_app(lease=LEASE, max_activities=10)
    handles = await front.start_many([goes_on.bind(4) for _ in range(60)])
    for one in (1, 2, 3, 1):
        deaf[one].deaf = True
        await asyncio.sleep(LEASE * 1.5)
        deaf[one].deaf = False

    results = await asyncio.gather(*(handle.result(timeout=60) for handle in handles))

    assert [6] * 60 == results
    for handle in handles:
        done = [event.id for event in await handle.history() if isinstance(event, ActivityCompleted)]
        assert [f"takes_a_while:{number}" for number in range(1, 5)] == done
