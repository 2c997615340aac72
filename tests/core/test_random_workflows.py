"""Generated workflows: random trees of all operations, random completion orders, and a crash after every commit."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import anyio
import pytest
from hypothesis import given, note
from hypothesis import strategies as st

from romancy.activity import activity, compensation
from romancy.context import WorkflowContext
from romancy.core import ActivityCompleted, CompensationScheduled, decode_commit, replay
from romancy.errors import RetryExhaustedError, TerminalError, WorkflowCancelledError, WorkflowFailedError
from romancy.retry import RetryPolicy
from romancy.workflow import workflow
from romancy_conformance.workflows import Scenario
from tests.core.driver import World

Tree = dict[str, Any]


@compensation
async def undo(label: int, fate: str) -> None:
    if fate == "cannot be undone":
        raise TerminalError("stuck with it")


@activity(compensation=undo, retry=RetryPolicy.fixed(2, 1.0))
async def act(label: int, fate: str) -> int:
    if fate == "fails":
        raise ValueError(f"{label} fails")
    if fate == "refuses":
        raise TerminalError(f"{label} refuses")
    return label


@activity
async def other(label: int) -> int:
    return label


@workflow
async def random_tree(ctx: WorkflowContext, tree: str) -> int:
    return await perform(ctx, json.loads(tree))


async def perform(ctx: WorkflowContext, tree: Tree) -> int:
    """Perform one node; return the sum of its leaves' results."""
    if "parts" not in tree:
        return await leaf(ctx, tree)
    if tree["kind"] in ("timeout", "anyio", "catch", "finally"):
        return await guarded(ctx, tree, tree["parts"])
    return await together(ctx, tree, tree["parts"])


async def leaf(ctx: WorkflowContext, tree: Tree) -> int:
    match tree["kind"]:
        case "act":
            return await act(tree["label"], tree["fate"])
        case "other":
            return await other(tree["label"])
        case "sleep":
            await ctx.sleep(tree["seconds"])
            return 0
        case "wait":
            return (await ctx.wait_event("number", model=int, timeout=tree["seconds"])).data
        case _:
            return ctx.uuid4().int % 7 + ctx.random().randrange(5)


async def together(ctx: WorkflowContext, tree: Tree, parts: list[Tree]) -> int:
    match tree["kind"]:
        case "sequence":
            return sum([await perform(ctx, part) for part in parts])
        case "gather":
            return sum(await asyncio.gather(*(perform(ctx, part) for part in parts)))
        case "group":
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(perform(ctx, part)) for part in parts]
            return sum(task.result() for task in tasks)
        case "first":
            return await first(ctx, parts)
        case "children":
            return sum(await asyncio.gather(*(random_tree(json.dumps(part)) for part in parts)))
        case "started":
            handles = [await ctx.start(random_tree, json.dumps(part)) for part in parts]
            return sum([await handle.result() for handle in handles[:2]])
        case "shielded":
            return sum([await asyncio.shield(perform(ctx, part)) for part in parts])
        case _:
            total = 0
            for answer in asyncio.as_completed([perform(ctx, part) for part in parts]):
                total += await answer + await other(1)
            return total


async def first(ctx: WorkflowContext, parts: list[Tree]) -> int:
    tasks = [asyncio.create_task(perform(ctx, part)) for part in parts]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    return sum([task.result() for task in tasks if task in done])


async def guarded(ctx: WorkflowContext, tree: Tree, parts: list[Tree]) -> int:
    total = 0
    match tree["kind"]:
        case "timeout":
            try:
                async with asyncio.timeout(tree["seconds"]):
                    total = sum([await perform(ctx, part) for part in parts])
            except TimeoutError:
                total = await other(1000)
        case "anyio":
            with anyio.move_on_after(tree["seconds"]):
                async with anyio.create_task_group() as group:
                    for part in parts:
                        group.start_soon(perform, ctx, part)
        case "catch":
            try:
                total = sum([await perform(ctx, part) for part in parts])
            except (RetryExhaustedError, TerminalError, WorkflowFailedError, WorkflowCancelledError, ExceptionGroup):
                total = await other(2000)
        case "finally":
            try:
                total = sum([await perform(ctx, part) for part in parts])
            finally:
                total += await other(3000)
        case unknown:
            raise AssertionError(unknown)
    return total


FATES = st.sampled_from(["works", "works", "works", "fails", "refuses", "cannot be undone"])
SECONDS = st.sampled_from([0, 0.5, 1, 2, 3.7, 8])
KINDS = [
    "anyio",
    "as completed",
    "catch",
    "children",
    "finally",
    "first",
    "gather",
    "group",
    "sequence",
    "shielded",
    "started",
    "timeout",
]


def node(kind: str, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Tree]:
    return st.fixed_dictionaries({"kind": st.just(kind), **fields})


LEAVES: st.SearchStrategy[Tree] = st.one_of(
    node("act", label=st.integers(0, 9), fate=FATES),
    node("other", label=st.integers(0, 9)),
    node("sleep", seconds=SECONDS),
    node("wait", seconds=SECONDS),
    node("draw"),
)


def branches(parts: st.SearchStrategy[Tree]) -> st.SearchStrategy[Tree]:
    return st.fixed_dictionaries(
        {"kind": st.sampled_from(KINDS), "parts": st.lists(parts, min_size=1, max_size=4), "seconds": SECONDS}
    )


TREES: st.SearchStrategy[Tree] = st.recursive(LEAVES, branches, max_leaves=12)
DURATIONS = st.fixed_dictionaries({"act": SECONDS, "other": SECONDS})
EVENTS = st.lists(SECONDS, max_size=3).map(lambda times: tuple((at, "number", 5) for at in sorted(times)))


@given(tree=TREES, durations=DURATIONS, events=EVENTS, cancel_at=st.none() | SECONDS)
def test_a_crash_anywhere_changes_nothing(
    tree: Tree, durations: dict[str, float], events: tuple[Any, ...], cancel_at: float | None
) -> None:
    scenario = Scenario(random_tree, (json.dumps(tree),), durations=durations, events=events, cancel_at=cancel_at)
    whole = World(scenario)
    outcome = whole.finish()
    for line in whole.log():
        note(str(line))
    commits = [decode_commit(body) for id, body in whole.commits if id == "main"]
    replayed = replay(random_tree, commits, instance_id="main")
    assert replayed.outcome == outcome
    for cut in range(1, len(whole.commits)):
        resumed = whole.cut(cut)
        resumed.finish()
        assert resumed.commits == whole.commits
        assert sorted(resumed.executed) == sorted(whole.executed[whole.executed_until[cut - 1] :])


@given(tree=TREES, durations=DURATIONS, events=EVENTS, cancel_at=st.none() | SECONDS)
def test_what_a_log_must_hold_whatever_the_workflow(
    tree: Tree, durations: dict[str, float], events: tuple[Any, ...], cancel_at: float | None
) -> None:
    world = World(Scenario(random_tree, (json.dumps(tree),), durations=durations, events=events, cancel_at=cancel_at))
    outcome = world.finish()
    kinds = world.kinds()
    terminal = {"WorkflowCompleted", "WorkflowFailed", "WorkflowCancelled"}
    assert [kind in terminal for kind in kinds].count(True) == 1
    assert kinds[-1] in terminal
    settled = kinds.index("CompensationScheduled") if "CompensationScheduled" in kinds else len(kinds)
    assert not {"ActivityCompleted", "ActivityFailed", "ActivityCancelled"} & set(kinds[settled:])
    completed = [event.id for event in world.log() if isinstance(event, ActivityCompleted)]
    undone = [event.activity_id for event in world.log() if isinstance(event, CompensationScheduled)]
    compensable = [id for id in completed if id.startswith("act:")]
    assert undone == ([] if outcome.status == "completed" else compensable[::-1])


class Nothing:
    """No answer is of this type: asyncio steps the bodies from their first wait on."""


@given(tree=TREES, durations=DURATIONS, events=EVENTS, cancel_at=st.none() | SECONDS)
def test_a_body_stepped_by_hand_writes_the_log_that_it_writes_with_asyncio(
    tree: Tree, durations: dict[str, float], events: tuple[Any, ...], cancel_at: float | None
) -> None:
    scenario = Scenario(random_tree, (json.dumps(tree),), durations=durations, events=events, cancel_at=cancel_at)
    by_hand = World(scenario)
    by_hand.finish()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("romancy.core.loop.body.Answer", Nothing)
        by_asyncio = World(scenario)
        by_asyncio.finish()

    assert by_hand.commits == by_asyncio.commits
