"""What a retry remembers of each kind of operation: events, delays, children, messages, what was given up."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from romancy.context import WorkflowContext
from romancy.core import (
    ActivityCompleted,
    ChildStarted,
    TimerFired,
)
from romancy.errors import EventTimeoutError
from romancy.workflow import workflow
from tests.core.retries import SECOND, Retries, Shop, agree, charge, failed, note, ship, text


@workflow
async def child(ctx: WorkflowContext, x: int) -> str:
    return "never driven here"


@workflow
async def waits(ctx: WorkflowContext) -> list[Any]:
    first = await ctx.wait_event("approval", timeout=60)
    await asyncio.sleep(3600)
    second = await ctx.wait_event("approval")
    await ship(1)
    return [first.data, second.data, asyncio.get_running_loop().time() >= 3600]


def test_events_and_delays_are_not_waited_for_again() -> None:
    shop = Shop()
    shop.signals += [("approval", "boss"), ("approval", "chief")]
    one = failed(waits, shop=shop)
    before = one.now
    shop.waited.clear()

    one.retry()

    assert one.result() == ["boss", "chief", True]
    assert shop.waited == []
    assert one.now - before < 60 * SECOND
    assert any(isinstance(event, TimerFired) and event.again for event in one.log())
    agree(one)


@workflow
async def impatient(ctx: WorkflowContext) -> str:
    async with asyncio.timeout(60):
        await ship(1)
    try:
        await ctx.wait_event("never", timeout=5)
    except EventTimeoutError:
        await asyncio.sleep(10)
    return await note(1)


def test_a_limit_begins_anew() -> None:
    shop = Shop()
    shop.slow.add("ship")
    one = Retries(impatient, shop=shop)
    one.fail()
    shop.slow.clear()

    one.retry()

    assert one.result() == "note 2"
    assert shop.names() == ["ship", "note"]
    agree(one)


def test_a_delay_behind_one_that_is_remembered_has_its_full_length() -> None:
    shop = Shop()
    one = failed(sleeps, shop=shop)
    shop.waited.clear()

    one.retry()
    one.finish()

    assert shop.waited == [pytest.approx(5)]
    agree(one)


@workflow
async def sleeps(ctx: WorkflowContext) -> None:
    await asyncio.sleep(3600)
    await ship(1)
    await asyncio.sleep(5)


@workflow
async def parent(ctx: WorkflowContext, *, named: bool) -> list[str]:
    await charge(1)
    one = await (child.options(instance_id="mine") if named else child)(1)
    two = await child(1)
    return [one, two, await ship(1)]


@pytest.mark.parametrize("named", [False, True])
def test_a_child_that_completed_is_not_started_again(*, named: bool) -> None:
    shop = Shop()
    one = failed(parent, named=named, shop=shop)
    children = list(shop.children)
    assert len(children) == 2

    one.retry()

    assert one.result()[:2] == [instance_id for instance_id, _ in children]
    assert shop.children == children
    agree(one)


@pytest.mark.parametrize("named", [False, True])
def test_a_child_that_failed_is_retried_under_its_id(*, named: bool) -> None:
    shop = Shop()
    one = failed(parent, named=named, shop=shop, broken="child")
    ((first, again),) = shop.children
    assert not again
    shop.children.clear()

    one.retry()

    assert one.result()[0] == first
    assert shop.children[0] == (first, True)
    assert shop.children[1][0] != first
    assert not shop.children[1][1]
    started = [event for event in one.log() if isinstance(event, ChildStarted)]
    assert [event.id for event in started] == ["child:1", "child:1", "child:2@2"]


def test_a_child_that_is_gone_is_started_anew() -> None:
    shop = Shop()
    one = failed(parent, named=False, shop=shop, broken="child")
    ((first, _),) = shop.children
    shop.children.clear()

    one.retry(gone=(first,))

    one.finish()
    assert [again for _, again in shop.children] == [False, False]
    assert first not in {instance_id for instance_id, _ in shop.children}
    agree(one)


@workflow
async def tells(ctx: WorkflowContext) -> None:
    await ctx.publish("begun", 1)
    await ship(1)
    await ctx.publish("begun", 1)
    await ctx.publish("ended", 1)


def test_what_was_published_is_not_published_again() -> None:
    shop = Shop()
    one = failed(tells, shop=shop)

    one.retry()

    one.finish()
    assert shop.sent == ["begun", "begun", "ended"]
    agree(one)


@workflow
async def races(ctx: WorkflowContext) -> str:
    tasks = [asyncio.ensure_future(note(1)), asyncio.ensure_future(charge(1))]
    done, others = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in others:
        task.cancel()
    await asyncio.wait(tasks)
    first = next(iter(done)).result()
    await ship(1)
    return first


def test_who_was_first_is_first_again() -> None:
    shop = Shop()
    shop.slow.add("charge")
    one = failed(races, shop=shop)
    first = next(event for event in one.log() if isinstance(event, ActivityCompleted))

    one.retry()

    assert one.result() == text(first)
    agree(one)


@workflow
async def in_one_breath(ctx: WorkflowContext) -> str:
    given_up = asyncio.ensure_future(note(1))
    await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.wait([given_up])
    return await note(1) + await ship(1)


@workflow
async def straight(ctx: WorkflowContext) -> str:
    return await note(1) + await ship(1)


def test_what_was_asked_for_and_given_up_in_one_breath_is_still_remembered() -> None:
    shop = Shop()
    one = failed(straight, shop=shop)

    one.retry(in_one_breath)

    assert one.result().startswith("note 1")
    assert shop.names() == ["ship"]
    agree(one)
