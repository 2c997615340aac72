"""`romancy show` on every database: trees of children, attempts with their times, errors with their members."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from romancy import RetryPolicy, Romancy, WorkflowContext, WorkflowFailedError, activity, workflow
from romancy_conformance.behaviour.calling import calling
from romancy_conformance.behaviour.damaging import sql_on

if TYPE_CHECKING:
    from collections.abc import Callable

    from romancy_conformance.behaviour.commands.buying import Command

LONG = "the disk is full, and this message is rather longer than a line of a terminal has room for"


@activity
async def pack(box: int) -> int:
    return box


@pack.compensation
async def unpack(box: int) -> None:
    """Does nothing."""


@activity(retry=RetryPolicy.fixed(2, 0.01))
async def weigh(box: int) -> int:
    inner = ExceptionGroup("the scales", [OSError(LONG), KeyError("weight")])
    raise ExceptionGroup("several things went wrong", [ValueError("no box"), inner])


@workflow
async def weighing(ctx: WorkflowContext, box: int) -> int:
    await pack(box)
    return await weigh(box)


@workflow
async def delivery(ctx: WorkflowContext, box: int) -> int:
    await pack(box)
    handle = await ctx.start(weighing, box)
    return await handle.result()


@workflow
async def deliveries(ctx: WorkflowContext, boxes: int) -> int:
    for box in range(boxes):
        handle = await ctx.start(delivery, box)
        try:
            await handle.result()
        except WorkflowFailedError:
            continue
    return boxes


calls_pack = calling(pack)


@workflow
async def borrowing(ctx: WorkflowContext, box: int) -> int:
    return await calls_pack.options(instance_id="p-1")(box)


@pytest.fixture
def show(url: str, romancy: Command) -> Callable[..., tuple[str, str]]:
    """Run `show` on an instance with two failed children, each with its own child."""

    async def prepare() -> None:
        async with Romancy(url, workflows=[deliveries, delivery, weighing]) as app:
            handle = await app.start(deliveries.options(instance_id="top"), 2)
            assert 2 == await handle.result(timeout=60)

    asyncio.run(prepare())

    def run(*arguments: str) -> tuple[str, str]:
        answer = romancy("show", "top", *arguments)
        assert 0 == answer.code, answer.err
        return answer.out, answer.err

    return run


def record(out: str) -> dict[str, Any]:
    """Return the one record that was printed."""
    found: dict[str, Any] = json.loads(out)
    return found


def children(shown: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what `show` prints of the children."""
    return [step["child"] for step in shown["steps"] if step["child"] is not None]


def test_children_of_children_are_shown_with_their_attempts_compensations_and_members_of_groups(
    show: Callable[..., tuple[str, str]],
) -> None:
    out, err = show()
    lines = out.splitlines()
    words = " ".join(line.replace("|", " ") for line in lines)
    words = " ".join(words.split())

    assert "" == err
    assert all(len(line) <= 80 for line in lines)
    assert 2 == words.count("workflow delivery started")
    assert 2 == words.count("workflow weighing started")
    assert 4 == words.count("undoes pack:1: completed")
    assert words.count("attempt 1 failed +") == 2
    assert words.count("ValueError: no box") >= 4
    assert f"OSError: {LONG}" in words
    deepest = [line for line in lines if "activity weigh:1: failed" in line]
    assert all(line.startswith(" " * 12 + "| | +") for line in deepest)


def test_a_record_holds_the_tree(show: Callable[..., tuple[str, str]]) -> None:
    shown = record(show("--json")[0])

    (first, second) = children(shown)
    (weighed,) = children(first)
    (step,) = [step for step in weighed["steps"] if step["name"] == "weigh"]
    assert ("delivery", "failed", "weighing") == (first["workflow"], second["status"], weighed["workflow"])
    assert "ExceptionGroup" == step["failures"][0]["error"]
    (_, inner) = step["failures"][0]["members"]
    assert {"type": "KeyError", "message": "'weight'", "members": [], "cause": None} == inner["members"][1]
    assert step["began_at"] == step["failures"][0]["due"] <= step["failures"][0]["at"]
    compensations = [(step["undoes"], step["outcome"]) for step in weighed["steps"] if step["kind"] == "compensation"]
    assert [("pack:1", "completed")] == compensations


def test_depth_and_number_of_children_are_bounded_and_what_was_left_out_is_said(
    show: Callable[..., tuple[str, str]],
) -> None:
    shallow, few, none = show("--depth", "1"), show("--children", "1"), show("--depth", "0", "--json")

    assert (2, 0) == (shallow[0].count("workflow delivery started"), shallow[0].count("workflow weighing started"))
    assert "2 of its children were not read; raise --children or --depth" in shallow[1]
    assert 1 == few[0].count("workflow delivery started")
    assert "2 of its children were not read" in few[1]
    assert [] == children(record(none[0]))


def test_a_child_that_was_removed_is_told_as_removed(show: Callable[..., tuple[str, str]], romancy: Command) -> None:
    (first, _) = children(record(show("--json")[0]))
    assert 0 == romancy("purge", first["instance_id"]).code

    out, _ = show()

    assert 1 == out.count("| this instance has been removed")
    assert 1 == out.count("workflow delivery started")


def test_an_instance_that_has_taken_the_id_of_a_child_is_not_shown_as_the_child(url: str, romancy: Command) -> None:
    async def prepare() -> None:
        async with Romancy(url, workflows=[borrowing, calls_pack]) as app:
            assert 7 == await app.run(calls_pack.options(instance_id="p-1"), 7)
            with pytest.raises(WorkflowFailedError, match="'p-1' exists already"):
                await app.run(borrowing.options(instance_id="b-1"), 8)

    asyncio.run(prepare())

    words = " ".join(romancy("show", "b-1").out.replace("|", " ").split())
    shown = record(romancy("show", "b-1", "--json").out)

    assert (1, 0) == (words.count("child calls_pack:1 p-1: failed"), words.count("workflow calls_pack started"))
    assert "the instance with this id has another parent, or none" in words
    assert [] == children(shown)


@pytest.mark.unreplayable("it has damaged a log")
def test_a_child_whose_log_is_damaged_does_not_hide_what_its_parent_did(
    url: str, show: Callable[..., tuple[str, str]]
) -> None:
    (_, second) = children(record(show("--json")[0]))

    async def damage() -> None:
        async with sql_on(url) as sql:
            await sql("delete from romancy_log where instance_id = {} and seq = 2", second["instance_id"])

    asyncio.run(damage())

    out, _ = show()
    words = " ".join(out.replace("|", " ").split())
    shown = children(record(show("--json")[0]))

    assert 1 == words.count("its log cannot be read")
    assert "row 2 is missing from its log" in words
    assert 1 == words.count("workflow delivery started")
    assert 1 == len(shown)
