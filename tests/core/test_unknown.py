"""Activities of unknown outcome: a failure names them, and a retry asks about them."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from romancy.context import WorkflowContext
from romancy.core import (
    ActivityAttemptFailed,
    ActivityCancelled,
    ActivityCancelRequested,
    ActivityCompleted,
    ActivityFailed,
    ActivityScheduled,
    CancelActivity,
    CancelRequested,
    Input,
    LogEvent,
    OwnerChanged,
    Recall,
    Run,
    StartActivity,
    WorkflowCancelled,
    WorkflowFailed,
    decode_commit,
    encode_commit,
    replay,
)
from romancy.serialization import describe_exception
from romancy.workflow import workflow
from tests.core.driver import SECOND, START, started
from tests.core.retries import SELF, Retries, Shop, agree, charge, lend, note, ship


@workflow
async def pays(ctx: WorkflowContext) -> list[str]:
    return list(await asyncio.gather(charge(1), lend(1), note(1), ship(1)))


@workflow
async def ships(ctx: WorkflowContext) -> str:
    return await ship(1)


def unanswered(shop: Shop) -> Retries:
    """An instance of which three activities did not answer when a fourth one failed."""
    shop.slow |= {"charge", "lend", "note"}
    shop.mute |= shop.slow
    shop.broken.add("ship")
    one = Retries(pays, shop=shop)
    one.fail()
    shop.slow.clear()
    shop.broken.clear()
    shop.calls.clear()
    return one


def doubts(one: Retries) -> list[str]:
    recall = Recall(SELF)
    for event in one.log():
        recall.follow(event)
    return [item.id for item in recall.unsure()]


def test_a_failure_names_what_is_unknown_unless_it_is_undone() -> None:
    shop = Shop()
    one = unanswered(shop)

    assert one.outcome is not None
    assert one.outcome.unknown == ("charge:1", "note:1")
    assert [undone for undone, *_ in shop.undone] == ["lend:1"]
    assert doubts(one) == ["charge:1@1", "note:1@1"]


@workflow
async def with_defaults(ctx: WorkflowContext) -> list[Any]:
    return [await note.or_default("no note")(1), await charge.or_default("no charge")(1), await ship(1)]


@pytest.mark.parametrize(("unsure", "undone"), [("done", ["charge:1@1"]), ("undone", [])])
def test_of_calls_with_a_default_that_stand_those_with_a_compensation_are_undone(
    unsure: str, undone: list[str]
) -> None:
    """One without a compensation has nothing that could be undone, as any activity without one."""
    shop = Shop()
    shop.mute |= {"note", "charge"}
    shop.broken |= {"note", "charge", "ship"}
    one = Retries(with_defaults, shop=shop)
    one.fail()
    assert doubts(one) == ["note:1@1", "charge:1@1"]
    shop.mute.clear()

    one.retry(unsure=unsure)

    assert one.fail() == "activity ship:1 failed after 1 attempt(s): ValueError: ship is broken"
    assert [name for name, *_ in shop.undone] == undone
    agree(one)


@pytest.mark.parametrize("unsure", ["done", "undone"])
def test_what_is_done_keeps_its_key_and_what_is_undone_gets_another(unsure: str) -> None:
    shop = Shop()
    one = unanswered(shop)
    one.retry(unsure=unsure)

    assert len(one.result()) == 4
    assert sorted(shop.names()) == ["charge", "lend", "note", "ship"]
    kept = {event.name for event in one.log() if isinstance(event, ActivityScheduled) and event.key}
    assert kept == ({"charge", "note", "ship"} if unsure == "done" else {"ship"})
    agree(one)


def test_what_stands_and_is_not_asked_for_again_is_not_forgotten() -> None:
    """A retry that ends well has left it unclaimed. One that fails names it, and the next one asks about it."""
    shop = Shop()
    one = unanswered(shop)
    shop.broken.add("ship")
    one.retry(ships, unsure="done")
    one.fail()
    assert one.outcome is not None
    assert one.outcome.unknown == ("charge:1@1", "note:1@1")
    assert doubts(one) == ["charge:1@1", "note:1@1"]

    shop.broken.clear()
    one.retry(ships, unsure="done")
    one.result()
    assert one.outcome is not None
    assert one.outcome.unclaimed == ("charge:1@1", "note:1@1")
    agree(one)


def test_what_is_undone_and_not_asked_for_again_is_forgotten() -> None:
    shop = Shop()
    one = unanswered(shop)
    shop.broken.add("ship")
    one.retry(ships, unsure="undone")
    one.fail()

    assert one.outcome is not None
    assert one.outcome.unknown == ()
    assert doubts(one) == []


def test_a_log_of_before_is_read_as_before() -> None:
    """It says that an activity did not answer, and its failure does not name it: a retry asks nothing."""
    one = unanswered(Shop())
    before = [
        [msgspec.structs.replace(event, unknown=()) if isinstance(event, WorkflowFailed) else event for event in commit]
        for commit in map(decode_commit, one.commits)
    ]
    assert b'"unknown":["' not in b"".join(map(encode_commit, before))
    recall = Recall(SELF)
    for commit in before:
        for event in commit:
            recall.follow(event)

    assert recall.unsure() == []
    assert replay(pays, before, instance_id=SELF) is not None


# ── one activity, input by input ────────────────────────────────────────────────────────────────────────────────────


@workflow
async def ships_slowly(ctx: WorkflowContext) -> str:
    return await ship(1)


def begun() -> Run:
    run = Run(ships_slowly, instance_id=SELF)
    run.activate([started(ships_slowly)])
    return run


ERROR = describe_exception(TimeoutError("too late"))


def failed(at: int, *, unknown: bool) -> ActivityAttemptFailed:
    return ActivityAttemptFailed(at, "ship:1", 1, ERROR, at + 10 * SECOND, unknown=unknown)


def test_one_attempt_that_did_not_answer_makes_a_failure_unknown() -> None:
    run = begun()
    run.activate([failed(START + 1, unknown=True)])
    ended = run.activate([ActivityFailed(START + 2, "ship:1", ERROR, 2)])
    assert isinstance(ended.events[-1], WorkflowFailed)
    assert ended.events[-1].unknown == ("ship:1",)


def test_an_activity_that_completes_in_the_end_is_known() -> None:
    run = begun()
    run.activate([failed(START + 1, unknown=True)])
    ended = run.activate([ActivityCompleted(START + 2, "ship:1", Raw(b'"sent"'), 2)])
    assert ended.outcome is not None
    assert ended.outcome.unknown == ()


def resumed(*commits: list[Any]) -> Run:
    run = Run(ships_slowly, instance_id=SELF)
    run.replay(list(commits))
    return run


def history(*inputs: Any) -> list[list[Any]]:
    """The commits of a run that was fed these inputs."""
    run = Run(ships_slowly, instance_id=SELF)
    return [run.activate([each]).events for each in (started(ships_slowly), *inputs)]


def test_what_was_asked_to_stop_and_ran_elsewhere_is_unknown() -> None:
    commits = history(CancelRequested(START + 1))
    assert isinstance(commits[-1][-1], ActivityCancelRequested)
    run = resumed(*commits)
    assert run.outstanding() == [CancelActivity("ship:1", idle=False)]
    ended = run.activate([ActivityCancelled(START + 2, "ship:1", unknown=True)])
    assert isinstance(ended.events[-1], WorkflowCancelled)
    assert ended.events[-1].unknown == ("ship:1",)


def test_what_waited_for_its_next_attempt_when_it_was_asked_did_nothing() -> None:
    run = resumed(*history(failed(START + 1, unknown=False), CancelRequested(START + 2)))
    assert run.outstanding() == [CancelActivity("ship:1", idle=True)]


def test_an_attempt_of_a_former_owner_may_have_begun() -> None:
    taken = OwnerChanged(START + 2, owner="other")
    (effect,) = resumed(*history(taken)).outstanding()
    assert isinstance(effect, StartActivity)
    assert effect.lost
    (effect,) = resumed(*history(failed(START + 1, unknown=False), taken)).outstanding()
    assert isinstance(effect, StartActivity)
    assert not effect.lost
    for interrupted in (False, True):
        given_back = OwnerChanged(START + 2, code="c1", interrupted=interrupted)
        (effect,) = resumed(*history(given_back)).outstanding()
        assert isinstance(effect, StartActivity)
        assert effect.lost is interrupted


# ── the number of the next attempt ──────────────────────────────────────────────────────────────────────────────────


def after(*lost: LogEvent) -> Run:
    """A run whose activity is scheduled, followed by these events."""
    run = Run(ships, instance_id=SELF)
    run.activate([started(ships)])
    for event in lost:
        assert isinstance(event, Input)
        run.activate([event])
    return run


def numbers(run: Run) -> tuple[int, int, bool]:
    """The number of the next attempt, how many have failed, and whether one may have begun."""
    (effect,) = run.outstanding()
    assert isinstance(effect, StartActivity)
    run.close()
    return effect.attempt, effect.failed, effect.lost


def failed_once(attempt: int, at: int, next_at: int) -> ActivityAttemptFailed:
    return ActivityAttemptFailed(at, "ship:1", attempt, describe_exception(LookupError("x")), next_at)


LOST: dict[str, tuple[tuple[LogEvent, ...], tuple[int, int, bool]]] = {
    "nothing": ((), (1, 0, False)),
    "a death": ((OwnerChanged(START, owner="b"),), (2, 0, True)),
    "two deaths": ((OwnerChanged(START, owner="b"), OwnerChanged(START, owner="c")), (3, 0, True)),
    "a trial after a death": (
        (OwnerChanged(START, owner="b"), OwnerChanged(START, owner="b", alone=True)),
        (2, 0, True),
    ),
    "given back": ((OwnerChanged(START),), (1, 0, False)),
    "given back in its middle": ((OwnerChanged(START, interrupted=True),), (2, 0, True)),
    "given back before it began": ((OwnerChanged(START, interrupted=True, not_begun=("ship:1",)),), (1, 0, False)),
    "a failure": ((failed_once(1, START, START + 5),), (2, 1, False)),
    "a death after the pause": ((failed_once(1, START, START + 5), OwnerChanged(START + 6, owner="b")), (3, 1, True)),
    "a death in the pause": ((failed_once(1, START, START + 5), OwnerChanged(START + 4, owner="b")), (2, 1, False)),
    "a death, then a failure": ((OwnerChanged(START, owner="b"), failed_once(2, START, START + 5)), (3, 1, False)),
}


@pytest.mark.parametrize("what", LOST)
def test_the_number_counts_what_may_have_begun_and_the_policy_what_failed(what: str) -> None:
    events, expected = LOST[what]
    assert numbers(after(*events)) == expected
