"""Steps as bars: attempts, the waits between them, what was lost with a worker."""

from __future__ import annotations

from msgspec import Raw

from romancy import core as ev
from romancy.insight import Bar, Step, Timeline, bars
from romancy.serialization import ErrorInfo

STARTED = ev.WorkflowStarted(at=0, workflow="shop", input=Raw(b"null"), nonce="n")
CALL = ev.ActivityScheduled(id="charge:1", name="charge", args=Raw(b"[]"))
BROKEN = ErrorInfo(type="ValueError", message="broken")


def only(*events: ev.LogEvent) -> Step:
    (step,) = Timeline.of([STARTED, *events]).steps
    return step


def test_each_attempt_is_a_bar_apart_from_its_queue_and_its_pause() -> None:
    step = only(
        CALL,
        ev.ActivityAttemptFailed(at=100, id="charge:1", attempt=1, error=BROKEN, next_at=300, queued=20),
        ev.ActivityAttemptFailed(at=400, id="charge:1", attempt=2, error=BROKEN, next_at=900),
        ev.ActivityCompleted(at=1000, id="charge:1", attempt=3, queued=60),
    )

    assert [
        Bar("queue", 0, 20, 1),
        Bar("failed", 20, 100, 1),
        Bar("pause", 100, 300),
        Bar("failed", 300, 400, 2),
        Bar("pause", 400, 900),
        Bar("queue", 900, 960, 3),
        Bar("done", 960, 1000, 3),
    ] == bars(step, 5000)


def test_an_attempt_that_has_not_ended_goes_on() -> None:
    assert [Bar("run", 0, 700, 1, open=True)] == bars(only(CALL), 700)


def test_a_pause_that_has_not_ended_goes_on() -> None:
    step = only(CALL, ev.ActivityAttemptFailed(at=100, id="charge:1", attempt=1, error=BROKEN, next_at=900))

    assert [Bar("failed", 0, 100, 1), Bar("pause", 100, 500, open=True)] == bars(step, 500)
    assert [Bar("failed", 0, 100, 1), Bar("pause", 100, 900), Bar("run", 900, 950, 2, open=True)] == bars(step, 950)


def test_what_a_dead_worker_was_at_is_lost() -> None:
    step = only(CALL, ev.OwnerChanged(at=500, owner="other"), ev.ActivityCompleted(at=800, id="charge:1"))

    assert [Bar("lost", 0, 500, 1), Bar("done", 500, 800, 1)] == bars(step, 5000)


def test_an_activity_that_its_run_left_behind_has_stopped() -> None:
    step = only(CALL, ev.ActivityFailed(at=10, id="other:1", error=BROKEN), ev.WorkflowCompleted())

    assert (None, 10) == (step.ended_at, step.left_at)
    assert [Bar("stopped", 0, 10, 1)] == bars(step, 5000)


def test_a_wait_is_one_bar() -> None:
    timer = ev.TimerStarted(id="timer:1", when=1.0, due=1_000_000)

    assert [Bar("wait", 0, 600, open=True)] == bars(only(timer), 600)
    assert [Bar("wait", 0, 1_000_000)] == bars(only(timer, ev.TimerFired(at=1_000_000, id="timer:1")), 5_000_000)


def test_what_never_started_has_no_bar() -> None:
    gone = ev.ActivityCancelRequested(id="charge:1", never_started=True)

    assert [] == bars(only(CALL, gone), 600)


def test_a_detailed_timeline_keeps_the_events_and_their_places() -> None:
    timeline = Timeline(detailed=True)
    answer = ev.ActivityCompleted(at=9, id="charge:1", result=Raw(b"5"))
    for place, event in [((1, 0), STARTED), ((1, 1), CALL), ((2, 0), answer)]:
        timeline.take(event, place)

    (step,) = timeline.steps
    assert ((1, 1), (2, 0), CALL, answer) == (step.place, step.end_place, step.asked, step.answer)
    assert None is Timeline.of([STARTED, CALL]).steps[0].asked
