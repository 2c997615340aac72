"""Fakes in the place of activities, and the record of all attempts."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest

from romancy import (
    ActivityContext,
    Depends,
    RetryPolicy,
    SerializationError,
    UsageError,
    WorkflowContext,
    WorkflowFailedError,
    activity,
    activity_context,
    compensation,
    workflow,
)
from romancy.testing import TestApp

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.anyio

START = datetime(2030, 1, 1, tzinfo=UTC)


@dataclass
class Receipt:
    number: str


class Bank:
    pass


def bank() -> Bank:
    raise AssertionError("a mocked activity asks for no dependency")


@activity
async def charge(amount: int, currency: str = "EUR", *, at: Bank = Depends(bank)) -> Receipt:
    raise AssertionError("this would ring at the bank")


@compensation
async def release(result: str, item: str) -> None:
    raise AssertionError("this would ring at the warehouse")


@activity(compensation=release)
async def reserve(item: str) -> str:
    raise AssertionError("this would ring at the warehouse")


@activity(pass_context=True)
async def fetch(ctx: ActivityContext, url: str, *, depth: int = 1) -> str:
    return f"{url} {ctx.attempt}"


@activity
def thread(number: int) -> str:
    return threading.current_thread().name


@activity(executor="process")
def process(number: int) -> int:
    return number * 2


@workflow
async def sale(ctx: WorkflowContext, amount: int) -> str:
    return (await charge(amount)).number


@workflow
async def broken_sale(ctx: WorkflowContext, item: str) -> str:
    await reserve(item)
    raise ValueError("sold out")


@workflow
async def crawl(ctx: WorkflowContext) -> list[str]:
    return [await fetch("a", depth=2), await fetch("b")]


@workflow
async def elsewhere(ctx: WorkflowContext) -> list[Any]:
    return [await thread(1), await process(2)]


async def test_a_value_a_function_a_coroutine_or_an_exception_stands_for_an_activity() -> None:
    def quick_fake(amount: int, currency: str) -> Receipt:
        return Receipt(f"quick {amount} {currency}")

    async def slow_fake(amount: int, currency: str) -> Receipt:
        await asyncio.sleep(0)
        return Receipt(f"slow {amount} {currency}")

    async with TestApp([sale], now=START, retry=RetryPolicy.none()) as app:
        app.mock(charge, Receipt("value"))
        assert await app.run(sale, 1) == "value"
        app.mock(charge, quick_fake)
        assert await app.run(sale, 2) == "quick 2 EUR"
        app.mock(charge, slow_fake)
        assert await app.run(sale, 3) == "slow 3 EUR"
        app.mock(charge, ConnectionError("no bank"))
        with pytest.raises(WorkflowFailedError, match="no bank"):
            await app.run(sale, 4)
        app.mock(charge, TimeoutError)
        with pytest.raises(WorkflowFailedError, match="TimeoutError"):
            await app.run(sale, 5)


async def test_the_record_tells_of_each_attempt() -> None:
    async with TestApp([sale], now=START, retry=RetryPolicy.fixed(2, timedelta(hours=1))) as app:
        answers: list[Any] = [ConnectionError("no bank"), Receipt("r-1")]
        app.mock(charge, mock.Mock(side_effect=answers))
        assert await app.run(sale, 7) == "r-1"
        first, second = app.calls
        assert (first.activity, first.args, first.arguments) == ("charge", (7, "EUR"), {"amount": 7, "currency": "EUR"})
        assert (first.attempt, first.outcome, repr(first.error)) == (1, "failed", "ConnectionError('no bank')")
        assert (second.attempt, second.outcome, second.result) == (2, "completed", Receipt("r-1"))
        assert (second.at, second.mocked, second.activity_id) == (START + timedelta(hours=1), True, first.activity_id)


async def test_what_is_not_mocked_runs_as_it_is() -> None:
    async with TestApp([crawl, elsewhere], now=START) as app:
        assert await app.run(crawl) == ["a 1", "b 1"]
        assert [call.arguments for call in app.calls.of(fetch)] == [{"url": "a", "depth": 2}, {"url": "b", "depth": 1}]
        name, doubled = await app.run(elsewhere)
        assert (name.startswith("romancy-activity"), doubled) == (True, 4)
        assert app.calls.of("process")[0].result == 4
        assert not any(call.mocked for call in app.calls)


async def test_activities_on_threads_and_in_processes_can_be_mocked() -> None:
    async with TestApp([elsewhere], now=START) as app:
        app.mock(thread, "here")
        app.mock(process, 3)
        assert await app.run(elsewhere) == ["here", 3]


async def test_compensations_are_recorded_and_can_be_mocked() -> None:
    undone: list[tuple[str, str]] = []

    async def fake(result: str, item: str) -> None:
        undone.append((result, item))

    async with TestApp([broken_sale], now=START) as app:
        app.mock(reserve, "r-1")
        app.mock(release, fake)
        with pytest.raises(WorkflowFailedError, match="sold out"):
            await app.run(broken_sale, "shoe")
        assert undone == [("r-1", "shoe")]
        assert app.calls.names == ["reserve", "release"]
        assert app.calls[1].compensates == app.calls[0].activity_id


def takes_none() -> Receipt:
    return Receipt("")


def takes_too_few(amount: int) -> Receipt:
    return Receipt("")


def takes_too_many(amount: int, currency: str, more: int) -> Receipt:
    return Receipt("")


def takes_swapped(currency: str, amount: int) -> Receipt:
    return Receipt("")


@pytest.mark.parametrize("fake", [takes_none, takes_too_few, takes_too_many, takes_swapped])
async def test_a_fake_with_another_signature_is_refused_by_name(fake: Callable[..., Receipt]) -> None:
    async with TestApp([sale], now=START) as app:
        with pytest.raises(UsageError, match=r"the fake takes_.* activity 'charge' \(amount, currency\)"):
            app.mock(charge, fake)


async def test_a_value_that_the_activity_could_not_return_is_refused() -> None:
    async with TestApp([sale], now=START) as app:
        wrong: Any = 3
        with pytest.raises(SerializationError, match="charge"):
            app.mock(charge, wrong)


async def test_only_activities_can_be_mocked() -> None:
    async with TestApp([sale], now=START) as app:
        for wrong in (sale, test_only_activities_can_be_mocked, "charge"):
            given: Any = wrong
            with pytest.raises(UsageError, match="activity"):
                app.mock(given, 1)


async def test_a_mock_can_last_for_a_block() -> None:
    async with TestApp([crawl], now=START) as app:
        with app.mocked(fetch, "outer"):
            with app.mocked(fetch, "inner"):
                assert await app.run(crawl) == ["inner", "inner"]
            assert await app.run(crawl) == ["outer", "outer"]
        assert await app.run(crawl) == ["a 1", "b 1"]
        app.mock(fetch, "x")
        app.unmock(fetch)
        assert await app.run(crawl) == ["a 1", "b 1"]


async def test_a_fake_can_let_time_pass_and_ask_for_its_context() -> None:
    async with TestApp([crawl], now=START) as app:
        keys: list[str] = []

        async def slow(url: str, *, depth: int) -> str:
            keys.append(activity_context().idempotency_key)
            await app.advance(timedelta(hours=1))
            return url

        app.mock(fetch, slow)  # type: ignore[misc] # pyright: ignore[reportCallIssue, reportArgumentType] # no dependency
        assert await app.run(crawl) == ["a", "b"]
        assert app.now == START + timedelta(hours=2)
        assert len(set(keys)) == 2
