"""Many starts by one call: they share commits, and a taken id is reported without affecting the others."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from romancy import InstanceConflictError, PayloadTooLargeError, Romancy, WorkflowContext, workflow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from romancy import Workflow
    from romancy.workflow import Call
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

MANY = 3000
A_FEW_HUNDRED = 500


@workflow
async def many_echo(ctx: WorkflowContext, text: str) -> str:
    return text


@workflow
async def many_other(ctx: WorkflowContext, text: str) -> str:
    return text.upper()


def named(instance_id: str, text: str, wf: Workflow[[str], str] = many_echo) -> Any:
    return wf.options(instance_id=instance_id).bind(text)


done: list[int] = []
"""One entry for each preparation and each beginning."""


@workflow
async def many_counted(ctx: WorkflowContext, number: int) -> None:
    done.append(number)


def counted_calls() -> Iterator[Call[None]]:
    for number in range(MANY):
        done.append(number)
        yield many_counted.bind(number)


async def started(app: Romancy) -> dict[str, str]:
    """Return the existing instances, and how they ended."""
    ids = [instance.instance_id async for instance in app.iter_instances()]
    return {instance_id: await app.handle(instance_id, many_echo).result(timeout=60) for instance_id in ids}


@pytest.mark.parametrize("worker", [True, False], ids=["worker", "no worker"])
async def test_conflicts_are_told_together_and_the_others_are_started(open_app: Open, worker: bool) -> None:  # noqa: FBT001
    working = await open_app()
    app = working if worker else await open_app(worker=False)
    await app.start_many([named("b", "first"), named("d", "first", many_other), named("e", "same")])
    calls = [named("a", "new"), named("b", "second"), named("c", "new"), named("d", "first"), named("e", "same")]

    with pytest.raises(
        InstanceConflictError, match=r"2 of 5.*'b' exists.*another input.*'d' exists.*of many_other"
    ) as told:
        await app.start_many(calls)

    assert told.value.conflicts == ("b", "d")
    assert told.value.started == ("a", "c", "e")
    assert await started(working) == {"a": "new", "b": "first", "c": "new", "d": "FIRST", "e": "same"}


async def test_a_mended_list_is_started_again(app: Romancy) -> None:
    await app.start(many_echo.options(instance_id="b"), "taken")
    with pytest.raises(InstanceConflictError):
        await app.start_many([named(name, "x") for name in "abc"])

    handles = await app.start_many([named(name, "x") for name in "adc"])

    assert [handle.instance_id for handle in handles] == ["a", "d", "c"]
    assert await started(app) == {"a": "x", "b": "taken", "c": "x", "d": "x"}


async def test_one_id_twice_in_a_call(app: Romancy) -> None:
    same = await app.start_many([named("a", "x"), named("a", "x")])
    with pytest.raises(InstanceConflictError) as told:
        await app.start_many([named("b", "x"), named("b", "y")])

    assert [handle.instance_id for handle in same] == ["a", "a"]
    assert (told.value.conflicts, told.value.started) == (("b",), ("b",))
    assert await started(app) == {"a": "x", "b": "x"}


async def test_many_conflicts_make_no_long_message(app: Romancy) -> None:
    await app.start_many([named(f"id-{number}", "x") for number in range(40)])

    with pytest.raises(InstanceConflictError, match=r"40 of 40.*and 35 more") as told:
        await app.start_many([named(f"id-{number}", "y") for number in range(40)])

    assert told.value.conflicts == tuple(f"id-{number}" for number in range(40))
    assert "id-30" not in str(told.value)


async def test_one_that_is_too_large_starts_none(app: Romancy) -> None:
    with pytest.raises(PayloadTooLargeError):
        await app.start_many([named("a", "x"), named("b", "x" * 3_000_000), named("c", "x")])

    assert await started(app) == {}


async def test_many_starts_leave_the_event_loop_its_turns(app: Romancy) -> None:
    longest = 0

    async def look_on() -> None:
        nonlocal longest
        seen = 0
        while True:
            longest, seen = max(longest, len(done) - seen), len(done)
            await asyncio.sleep(0)

    done.clear()
    onlooker = asyncio.create_task(look_on())
    handles = await app.start_many(counted_calls())
    onlooker.cancel()

    assert len(handles) == MANY
    assert len(done) >= 2 * MANY
    assert longest <= A_FEW_HUNDRED
