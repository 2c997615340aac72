"""Bodies call entities: once each, with an answer, and by their names alone where the class is another app's."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from romancy import (
    RequestFailedError,
    RequestTimeoutError,
    UsageError,
    WorkflowCancelledError,
    WorkflowContext,
    WorkflowFailedError,
    activity,
    entity,
    entity_context,
    workflow,
)
from romancy.core import ActivityScheduled, RequestAnswered
from romancy_conformance.behaviour.waiting import until

if TYPE_CHECKING:
    from romancy import Romancy
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

gate: list[asyncio.Event] = []
at_work: list[str] = []


@pytest.fixture(autouse=True)
def closed() -> None:
    """Close the gate of `enb_waits`."""
    gate[:] = [asyncio.Event()]
    at_work.clear()


@activity
async def enb_waits() -> None:
    at_work.append("waits")
    await gate[0].wait()


@entity("enb-till")
@dataclass
class Till:
    """Money."""

    cents: int = 0
    by: list[str] = field(default_factory=list[str])

    async def put(self, cents: int, *, by: str) -> int:
        if cents > 100:
            raise OverflowError(f"{cents} is too much")
        self.cents += cents
        self.by.append(by)
        return self.cents

    async def put_late(self, cents: int) -> int:
        await enb_waits()
        self.cents += cents
        return self.cents


@entity("enb-relay")
@dataclass
class Relay:
    """Calls others."""

    calls: int = 0

    async def out(self, to: str, back: str) -> str:
        self.calls += 1
        return await entity_context().entity(Relay, to).back(back)

    async def back(self, to: str) -> str:
        self.calls += 1
        return f"told {await entity_context().entity(Relay, to).out('nobody', 'nobody')}"


@workflow
async def enb_pays(ctx: WorkflowContext, key: str, amounts: list[int]) -> list[int]:
    till = ctx.entity(Till, key)
    return [await till.put(cents, by=ctx.instance_id) for cents in amounts]


@workflow
async def enb_catches(ctx: WorkflowContext) -> str:
    try:
        await ctx.entity(Till, "a").put(101, by="x")
    except RequestFailedError as error:
        return f"{error.__cause__!r}"
    return "paid"


@workflow
async def enb_hurries(ctx: WorkflowContext, limit: float | None) -> str:
    try:
        await ctx.entity(Till, "a", timeout=limit).put_late(5)
    except RequestTimeoutError as error:
        return str(error)
    return "in time"


@workflow
async def enb_mistakes(ctx: WorkflowContext) -> list[str]:
    till: Any = ctx.entity(Till, "a")
    told: list[str] = []
    calls: list[Any] = [
        lambda: till.take(1),
        till.put,
        lambda: ctx.entity(Till, "").put(1, by="x"),
        lambda: ctx.entity(int, "a"),
    ]
    for call in calls:
        try:
            await call()
        except UsageError as error:
            told.append(str(error))
    return told


@pytest.fixture
def workflows() -> list[Any]:
    """All of this file."""
    return [Till, Relay, enb_pays, enb_catches, enb_hurries, enb_mistakes]


async def answers_of(app: Romancy, key: str) -> int:
    found = [entry.event async for entry in app.entries_of(f"enb-till:{key}")]
    return sum(isinstance(event, RequestAnswered) for event in found)


async def test_a_body_calls_and_the_first_call_begins_the_entity(app: Romancy) -> None:
    handle = await app.start(enb_pays.options(instance_id="payer"), "a", [1, 2, 3])
    assert [1, 3, 6] == await handle.result()
    assert Till(6, ["payer"] * 3) == await app.entity_handle(Till, "a").state()
    names = [event.name for event in await app.history("payer") if isinstance(event, ActivityScheduled)]
    assert ["romancy.instance.call"] * 3 == names


async def test_each_of_many_bodies_is_told_what_it_has_made_of_the_state(app: Romancy) -> None:
    told = await asyncio.gather(*(app.run(enb_pays, "a", [1, 1]) for _ in range(20)))
    assert [*range(1, 41)] == sorted(number for numbers in told for number in numbers)
    assert 40 == await answers_of(app, "a")


async def test_an_error_of_the_method_is_caught_with_its_cause(app: Romancy) -> None:
    assert "OverflowError('101 is too much')" == await app.run(enb_catches)
    state = await app.entity_handle(Till, "a").state()
    assert state is None or state.cents == 0


async def test_a_call_that_takes_too_long_stays(app: Romancy) -> None:
    assert "within 2 s" in await app.run(enb_hurries, 2.0)
    gate[0].set()
    assert 6 == await app.entity(Till, "a").put(1, by="next")


async def test_a_caller_that_is_cancelled_takes_nothing_back(app: Romancy) -> None:
    handle = await app.start(enb_hurries, None)
    await until(lambda: bool(at_work))
    await handle.cancel()
    with pytest.raises(WorkflowCancelledError):
        await handle.result()
    gate[0].set()
    assert 6 == await app.entity(Till, "a").put(1, by="next")


async def test_the_app_of_the_caller_needs_no_code_of_the_entity(open_app: Open) -> None:
    front = await open_app(workflows=[enb_pays])
    handle = await front.start(enb_pays, "far", [7])
    back = await open_app(workflows=[Till])
    assert [7] == await handle.result()
    assert Till(7, [handle.instance_id]) == await back.entity_handle(Till, "far").state()


async def test_a_circle_is_refused_where_it_would_close(app: Romancy) -> None:
    with pytest.raises(RequestFailedError, match="EntityCircleError") as caught:
        await app.entity(Relay, "one").out("two", "one")
    assert "enb-relay:one → enb-relay:two → enb-relay:one" in str(caught.value)
    with pytest.raises(RequestFailedError) as caught:
        await app.entity(Relay, "one").out("one", "two")
    assert "enb-relay:one → enb-relay:one" in str(caught.value)


async def test_mistakes_are_named(app: Romancy) -> None:
    told = await app.run(enb_mistakes)
    expected = ["Till.take does not exist", "needs the argument", "the key of an entity", "is no entity"]
    assert [known for known, text in zip(expected, told, strict=True) if known in text] == expected


async def test_a_retry_of_the_caller_calls_anew_what_was_answered_with_an_error(app: Romancy) -> None:
    handle = await app.start(enb_pays, "a", [1, 101])
    with pytest.raises(WorkflowFailedError):
        await handle.result()
    assert 2 == await answers_of(app, "a")
    await app.retry(handle.instance_id)
    with pytest.raises(WorkflowFailedError):
        await handle.result()
    assert 3 == await answers_of(app, "a")
    state = await app.entity_handle(Till, "a").state()
    assert state is not None
    assert 1 == state.cents
