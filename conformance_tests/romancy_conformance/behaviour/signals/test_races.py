"""Signals race waits, time-outs, cancellations and ends: each is received once or left unread; no workflow hangs.

No sweep comes to help: a workflow that misses a signal here never receives it.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from romancy import (
    EventTimeoutError,
    Romancy,
    UsageError,
    WorkflowCancelledError,
    WorkflowContext,
    activity,
    activity_context,
    workflow,
)
from romancy.core import TERMINAL, MessageReceived, WaitTimedOut
from romancy.storage.backends import create_store
from romancy_conformance.behaviour.costs.hurried import hurried

if TYPE_CHECKING:
    from collections.abc import Iterator

    from romancy import Handle
    from romancy_conformance.behaviour.opening import Open

SOAK = bool(os.environ.get("ROMANCY_SOAK"))

pytestmark = [pytest.mark.anyio, pytest.mark.soak, pytest.mark.timeout(1800 if SOAK else 300)]

TRIALS = 10_000 if SOAK else 240
AT_ONCE = 24
STEP = 0.012
"""Seconds that a step may take."""
reached: dict[str, asyncio.Event] = {}


@activity
async def race_step(seconds: float) -> None:
    reached[activity_context().instance_id].set()
    await asyncio.sleep(seconds)


@workflow
async def race_wait(ctx: WorkflowContext, seconds: float, timeout: float | None, again: bool) -> list[Any]:  # noqa: FBT001
    """Wait for a signal after the step, with or without a time-out; then wait once more, or end."""
    await race_step(seconds)
    heard: list[Any] = []
    try:
        heard.append((await ctx.wait_event("go", timeout=timeout)).data)
    except EventTimeoutError:
        heard.append("timeout")
        if again:
            heard.append((await ctx.wait_event("go")).data)
    return heard


@dataclass
class Trial:
    """One instance, the signal that was sent to it, and the result of both."""

    number: int
    timeout: float | None
    again: bool
    spread: float = 2 * STEP
    """Seconds within which the calls are made."""
    accepted: bool = False
    cancelled: bool | None = None
    """Whether its cancellation came in time; None if it was not cancelled."""
    heard: list[Any] | None = None
    """Its result; None if it was cancelled."""

    @property
    def instance_id(self) -> str:
        return f"race-{self.number}"


@pytest.fixture(autouse=True)
def no_sweeps() -> Iterator[None]:
    reached.clear()
    with hurried(1 / 1000):
        yield


@pytest.fixture
def spread(backend: str) -> float:
    """Seconds within which a time-out, a signal and a cancellation arrive, in any order.

    They are more where a worker looks for signals of others at intervals of up to a third of a second.
    """
    return 0.6 if backend in ("tidb", "vitess") else 0.15


@pytest.fixture
def chance() -> random.Random:
    seed = random.SystemRandom().randrange(1_000_000)
    print(f"seed {seed}")
    return random.Random(seed)


async def signal(handle: Handle[Any], trial: Trial, seconds: float) -> None:
    await asyncio.sleep(seconds)
    try:
        await handle.signal("go", trial.number)
    except UsageError:
        return  # the error says that it has ended
    trial.accepted = True


async def cancel(handle: Handle[Any], trial: Trial, seconds: float) -> None:
    await asyncio.sleep(seconds)
    trial.cancelled = await handle.cancel()


async def race(app: Romancy, front: Romancy, trial: Trial, chance: random.Random, *, cancelling: bool) -> None:
    """Start the instance, and make the other calls at about the time when its step ends."""
    reached[trial.instance_id] = asyncio.Event()
    step = chance.uniform(0, STEP)
    start = race_wait.options(instance_id=trial.instance_id)
    await app.start(start, step, trial.timeout, trial.again)
    await reached[trial.instance_id].wait()
    handle = front.handle(trial.instance_id, race_wait)
    acts = [signal(handle, trial, chance.uniform(0, trial.spread))]
    if cancelling:
        acts.append(cancel(handle, trial, chance.uniform(0, trial.spread)))
    await asyncio.gather(*acts)
    try:
        trial.heard = await handle.result(timeout=60)
    except WorkflowCancelledError:
        trial.heard = None


async def race_all(
    open_app: Open, trials: list[Trial], chance: random.Random, *, cancelling: bool = False
) -> Counter[str]:
    """Run the races on two workers and an app without one; return by instance what the logs say was received."""
    apps = [await open_app(), await open_app()]
    front = await open_app(worker=False)
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(trial: Trial) -> None:
        async with limit:
            await race(chance.choice([*apps, front]), front, trial, chance, cancelling=cancelling)

    await asyncio.gather(*(one(trial) for trial in trials))
    received: Counter[str] = Counter()
    for trial in trials:
        history = await front.history(trial.instance_id)
        assert sum(isinstance(event, TERMINAL) for event in history) == 1
        received[trial.instance_id] = sum(isinstance(event, MessageReceived) for event in history)
        if trial.heard is not None:
            assert trial.heard.count("timeout") == sum(isinstance(event, WaitTimedOut) for event in history)
    return received


async def unread(url: str) -> Counter[str] | None:
    """Return how many signals lie unread in the inboxes; None where only the store knows."""
    store = create_store(url)
    await store.open()
    try:
        if not store.capabilities.sql:
            return None
        async with store.services.sessions.begin() as session:
            rows = await session.fetch_all("select instance_id from romancy_inbox")
    finally:
        await store.close()
    return Counter(_text(row["instance_id"]) for row in rows)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


async def test_signals_race_the_wait(open_app: Open, chance: random.Random) -> None:
    """Just before it begins, as it begins, and just after it has begun."""
    trials = [Trial(number, None, again=False) for number in range(TRIALS)]

    received = await race_all(open_app, trials, chance)

    assert [trial.heard for trial in trials] == [[trial.number] for trial in trials]
    assert all(trial.accepted for trial in trials)
    assert set(received.values()) == {1}


async def test_signals_race_the_time_out(open_app: Open, chance: random.Random, spread: float) -> None:
    """The database's clock decides which comes first; a signal too late for one wait is kept for the next."""
    lengths: set[int] = set()
    for first, wider in rounds(spread):
        trials = [
            Trial(number, chance.uniform(0.001, wider), again=True, spread=wider)
            for number in range(first, first + TRIALS)
        ]

        received = await race_all(open_app, trials, chance)

        assert all(trial.heard in ([trial.number], ["timeout", trial.number]) for trial in trials)
        assert set(received.values()) == {1}
        lengths |= {len(trial.heard or []) for trial in trials}
        if lengths == {1, 2}:
            return
    pytest.fail(f"nothing raced: {lengths}")


@pytest.mark.parametrize("cancelling", [False, True], ids=["the end", "the end and a cancellation"])
async def test_signals_race(
    storage_url: str, open_app: Open, chance: random.Random, spread: float, *, cancelling: bool
) -> None:
    ends: set[str] = set()
    for first, wider in rounds(spread):
        trials = [
            Trial(number, chance.uniform(0.001, wider), again=False, spread=wider)
            for number in range(first, first + TRIALS)
        ]

        received = await race_all(open_app, trials, chance, cancelling=cancelling)

        check(trials, received, await unread(storage_url))
        ends |= {"cancelled" if trial.heard is None else type(trial.heard[0]).__name__ for trial in trials}
        if ends == {"int", "str"} | ({"cancelled"} if cancelling else set()):
            return
    pytest.fail(f"nothing raced: {ends}")


def rounds(spread: float) -> list[tuple[int, float]]:
    """The first trial's number and the spread of each round: on a slow machine, a wider spread lets each one win."""
    return [(number * TRIALS, spread * 4**number) for number in range(3)]


def check(trials: list[Trial], received: Counter[str], left: Counter[str] | None) -> None:
    for trial in trials:
        count = received[trial.instance_id]
        if trial.heard is not None:
            assert trial.heard == ([trial.number] if count else ["timeout"])
        else:
            assert trial.cancelled
        assert count <= trial.accepted
        if left is not None and trial.cancelled is None:
            assert count + left[trial.instance_id] == trial.accepted
