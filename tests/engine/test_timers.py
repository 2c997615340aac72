"""Timers of loaded instances and attempts that are put off: they ring when their moment has come, and never earlier.

The event loop calls back within an hour, however far the moment is: meanwhile the database's clock may have moved.
"""

from __future__ import annotations

import asyncio
import gc
import weakref
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from msgspec import Raw

from romancy import activity
from romancy._logs import Speaker
from romancy.core import CancelRequested, StartActivity, StopAt
from romancy.engine.activities.runner import Attempts
from romancy.engine.clock import DatabaseClock
from romancy.engine.timers import Timers, rings_with

if TYPE_CHECKING:
    from collections.abc import Callable

    from romancy.engine.instance import Live

MINUTE = 60_000_000
HOUR = 60 * MINUTE


class Later:
    """The machine's clock and an event loop's timers. Time passes only when the test moves it."""

    def __init__(self) -> None:
        self.at = 0
        """The machine's time in nanoseconds."""
        self.handles: list[Handle] = []

    def __call__(self) -> int:
        return self.at

    def call_later(self, wait: float, callback: Callable[..., None], *args: Any) -> Handle:
        handle = Handle(self.at + round(wait * 1e9), callback, args)
        self.handles.append(handle)
        return handle

    def move(self, microseconds: int) -> None:
        """Let that time pass, and call what falls due on the way."""
        end = self.at + microseconds * 1000
        while due := [handle for handle in self.handles if handle.at <= end]:
            handle = min(due, key=lambda one: one.at)
            self.handles.remove(handle)
            self.at = max(self.at, handle.at)
            if not handle.cancelled:
                handle.callback(*handle.args)
        self.at = end

    @property
    def waits(self) -> int:
        """How many calls are still put off."""
        return sum(not handle.cancelled for handle in self.handles)


class Handle:
    """A call that was put off."""

    def __init__(self, at: int, callback: Callable[..., None], args: tuple[Any, ...]) -> None:
        self.at, self.callback, self.args = at, callback, args
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Later:
    """The loop that is running."""
    loop = Later()
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: loop)
    return loop


@pytest.fixture
def clock(later: Later) -> DatabaseClock:
    """The database's clock, which begins at 0."""
    clock = DatabaseClock(later)
    clock.observe(0)
    return clock


@pytest.fixture
def timers(clock: DatabaseClock) -> Timers:
    """The timers of a worker."""
    return Timers(clock)


class Instance:
    """A loaded instance."""

    def __init__(self) -> None:
        self.attempts: dict[str, Any] = {}
        self.run = SimpleNamespace(state=SimpleNamespace(started=SimpleNamespace(nonce="n")))

    def begins(self, attempt: Any) -> None:
        self.attempts[attempt.id] = attempt


@pytest.fixture
def live() -> Live:
    """A loaded instance."""
    return cast("Live", Instance())


class Bells:
    """Notes what rang."""

    def __init__(self) -> None:
        self.rung: list[str] = []

    def named(self, name: str) -> Callable[[], None]:
        return lambda: self.rung.append(name)


def test_a_timer_of_hours_does_not_ring_after_one(later: Later, timers: Timers, live: Live) -> None:
    bells = Bells()
    timers.arm(live, "t", 90 * MINUTE, bells.named("t"))

    later.move(90 * MINUTE - 1)
    assert [] == bells.rung
    later.move(1)
    assert ["t"] == bells.rung
    later.move(9 * HOUR)
    assert ["t"] == bells.rung


def test_it_rings_within_an_hour_of_a_jump_of_the_databases_clock(
    later: Later, clock: DatabaseClock, timers: Timers, live: Any
) -> None:
    bells = Bells()
    timers.arm(live, "t", 48 * HOUR, bells.named("t"))
    later.move(10 * MINUTE)
    clock.observe(48 * HOUR)

    later.move(50 * MINUTE)

    assert ["t"] == bells.rung


def test_it_waits_for_a_clock_that_was_put_back(later: Later, clock: DatabaseClock, timers: Timers, live: Live) -> None:
    bells = Bells()
    timers.arm(live, "t", 30 * MINUTE, bells.named("t"))
    later.move(20 * MINUTE)
    clock.observe(10 * MINUTE)

    later.move(20 * MINUTE - 1)
    assert [] == bells.rung
    later.move(1)
    assert ["t"] == bells.rung


def test_what_is_cleared_does_not_ring(later: Later, timers: Timers, live: Live) -> None:
    bells, other = Bells(), cast("Live", Instance())
    for name in ("a", "b", "c"):
        timers.arm(live, name, 2 * HOUR, bells.named(name))
    timers.arm(other, "d", 2 * HOUR, bells.named("d"))
    later.move(HOUR)  # each is armed anew

    timers.clear(live, "a")
    assert 3 == later.waits
    timers.clear_all(live)
    assert 1 == later.waits
    later.move(HOUR)
    assert ["d"] == bells.rung


def test_what_rings_may_arm_the_next_timer_of_its_name(later: Later, timers: Timers, live: Live) -> None:
    bells = Bells()

    def ring() -> None:
        bells.rung.append("first")
        timers.arm(live, "t", 3 * HOUR, bells.named("second"))

    timers.arm(live, "t", HOUR, ring)
    later.move(3 * HOUR)

    assert ["first", "second"] == bells.rung


def test_an_instance_is_not_kept_by_timers_that_rang(later: Later, timers: Timers) -> None:
    """Else a worker that is up for weeks keeps every instance that has ever slept."""
    bells, live = Bells(), Instance()
    timers.arm(cast("Live", live), "t", HOUR, bells.named("t"))
    kept = weakref.ref(live)
    later.move(HOUR)
    del live
    gc.collect()

    assert (["t"], None) == (bells.rung, kept())


def test_the_end_of_a_time_limit_names_the_limit() -> None:
    assert CancelRequested(at=7, limit=5) == rings_with(StopAt(due=7, limit=5))


@activity
async def charge() -> None:
    """Never called here."""


@pytest.fixture
def attempts(clock: DatabaseClock) -> Attempts:
    """The attempts of a worker, which begins none: they only fall due."""
    registry = SimpleNamespace(errors=frozenset())
    reports = SimpleNamespace(streamed=bool)
    driver = SimpleNamespace(
        registry=registry, incarnation=None, announces=bool, go_on=None, clock=clock, observer=None, reports=reports
    )
    store = SimpleNamespace(capabilities=SimpleNamespace(sessions_exclude=False))
    settings = SimpleNamespace(
        speaker=Speaker("w", error_text=True), max_threads=1, retry=None, max_activities=1, stage=None
    )
    parts: list[Any] = [driver, store, settings, None, None]
    made = Attempts(*parts)
    made.hold()
    return made


def test_a_retry_that_is_due_in_hours_is_not_due_after_one(later: Later, attempts: Attempts, live: Live) -> None:
    effect = StartActivity(activity_id="charge:1", definition=cast("Any", charge), args=Raw(b"[]"), due=90 * MINUTE)
    attempts.start(live, effect)

    at_rest: list[bool] = []
    for moves in (90 * MINUTE - 1, 1):
        later.move(moves)
        at_rest.append(attempts.at_rest)

    assert ([True, False], 0) == (at_rest, later.waits)
