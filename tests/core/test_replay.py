"""Replay is a function of a history and the code: it returns the state of the instance at any moment of its past."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest
from msgspec import Raw

from romancy.context import WorkflowContext
from romancy.core import MessageAwaited, StartActivity, WorkflowStarted, decode_commit, replay
from romancy.errors import HistoryCorruptError
from romancy.status import Status
from romancy.workflow import workflow
from romancy_conformance.workflows import Scenario
from romancy_conformance.workflows.activities import echo
from tests.core.driver import World

if TYPE_CHECKING:
    from romancy.core import LogEvent


@workflow
async def three_acts(ctx: WorkflowContext) -> int:
    first = await echo(1)
    await ctx.report({"done": first})
    await ctx.wait_event("go")
    return first + await echo(2)


@workflow
async def twice(ctx: WorkflowContext, run: int) -> int:
    await echo(run)
    return twice.recur(run + 1) if run == 1 else run


def commits(world: World) -> list[list[LogEvent]]:
    return [decode_commit(body) for _, body in world.commits]


def test_a_whole_history_tells_the_outcome() -> None:
    world = World(Scenario(three_acts, events=((1, "go", None),)))
    expected = world.finish()

    replayed = replay(three_acts, commits(world), instance_id="main")

    assert replayed.outcome == expected
    assert (replayed.status, replayed.run, replayed.outstanding) == (Status.COMPLETED, 1, ())
    assert replayed.time == world.main.run.last_time
    assert replayed.progress == Raw(b'{"done":1}')


def test_a_part_of_it_tells_what_the_instance_waited_for_then() -> None:
    world = World(Scenario(three_acts, events=((1, "go", None),)))
    world.finish()
    seen: list[tuple[Status, list[str]]] = []
    for length in range(1, len(world.commits)):
        past = replay(three_acts, commits(world)[:length], instance_id="main")
        assert past.outcome is None
        seen.append((past.status, [type(effect).__name__ for effect in past.outstanding]))

    assert seen == [
        (Status.RUNNING, [StartActivity.__name__]),
        (Status.WAITING, [MessageAwaited.__name__]),
        (Status.RUNNING, [StartActivity.__name__]),
    ]


def test_of_several_runs_the_latest_is_told() -> None:
    world = World(Scenario(twice, args=(1,)))
    world.finish()

    replayed = replay(twice, commits(world), instance_id="main")

    assert (replayed.status, replayed.run) == (Status.COMPLETED, 2)
    assert replayed.outcome is not None
    assert replayed.outcome.result is not None
    assert msgspec.json.decode(replayed.outcome.result) == 2


def test_a_history_without_a_beginning_is_none() -> None:
    world = World(Scenario(three_acts, events=((1, "go", None),)))
    world.finish()
    _, *rest = commits(world)
    assert not any(isinstance(event, WorkflowStarted) for commit in rest for event in commit)

    with pytest.raises(HistoryCorruptError, match="does not begin with its start"):
        replay(three_acts, rest, instance_id="main")
