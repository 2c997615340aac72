"""A three-month subscription, changed half way: a test app writes the history that a real database gets."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
import pytest

from romancy import EventTimeoutError, EventType, Handle, Romancy, Status, Workflow, WorkflowContext, activity, workflow
from romancy.testing import TestApp
from romancy_conformance.contract.building import start
from romancy_sqlite import _connection

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio

DAY = timedelta(days=1)
MONTH = 30 * DAY
START = datetime(2030, 1, 1, tzinfo=UTC)
_OF_WORKERS = ("OwnerChanged", "WorkflowResumed")
_PUT_CLOCK = """
create or replace function romancy_now() returns bigint language sql volatile as
$$ select (extract(epoch from clock_timestamp()) * 1000000)::bigint + {} $$
"""
change = EventType("change", str)


@activity
async def charge(customer: str, month: int, plan: str) -> str:
    return f"{customer} {month} {plan}"


@activity
async def send_receipt(payment: str) -> None:
    pass


async def next_plan(ctx: WorkflowContext, plan: str) -> str:
    try:
        return (await ctx.wait_event(change, timeout=MONTH)).data
    except EventTimeoutError:
        return plan


@workflow(name="subscription")
async def first_version(ctx: WorkflowContext, customer: str, months: int) -> str:
    plan = "small"
    for month in range(months):
        await charge(customer, month, plan)
        plan = await next_plan(ctx, plan)
    return plan


@workflow(name="subscription")
async def second_version(ctx: WorkflowContext, customer: str, months: int) -> str:
    plan = "small"
    for month in range(months):
        payment = await charge(customer, month, plan)
        if ctx.patched(f"receipt of month {month}"):
            await send_receipt(payment)
        plan = await next_plan(ctx, plan)
    return plan


Code = Workflow[[str, int], str]


class Stage(Protocol):
    """Where the subscription is lived through."""

    async def start(self, code: Code) -> Handle[str]: ...
    async def deploy(self, code: Code) -> Handle[str]: ...
    async def move(self, by: timedelta) -> None: ...
    async def settle(self, waits: int) -> None: ...


class InMemory:
    """A test app."""

    def __init__(self, app: TestApp) -> None:
        self.app = app

    async def start(self, code: Code) -> Handle[str]:
        return await self.app.start(code.options(instance_id="ada"), "ada", 4)

    async def deploy(self, code: Code) -> Handle[str]:
        await self.app.restart([code])
        return self.app.handle("ada", code)

    async def move(self, by: timedelta) -> None:
        await self.app.advance(by)

    async def settle(self, waits: int) -> None:
        await self.app.settle()


class OnADatabase:
    """Apps on a real database, whose clock is moved."""

    def __init__(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self._url = url
        self._monkeypatch = monkeypatch
        self._ahead = timedelta()
        self._app: Romancy | None = None

    async def start(self, code: Code) -> Handle[str]:
        app = await self._open(code)
        return await app.start(code.options(instance_id="ada"), "ada", 4)

    async def deploy(self, code: Code) -> Handle[str]:
        await self.close()
        return (await self._open(code)).handle("ada", code)

    async def _open(self, code: Code) -> Romancy:
        self._app = app = await Romancy(self._url, workflows=[code]).__aenter__()
        return app

    async def close(self) -> None:
        if self._app is not None:
            await self._app.__aexit__(None, None, None)

    async def move(self, by: timedelta) -> None:
        app: Any = self._app
        self._ahead += by
        if self._url.startswith("sqlite"):
            clock: Any = _connection
            lead = clock._lead + by // timedelta(microseconds=1) * 1000
            self._monkeypatch.setattr(_connection, "_lead", lead)
        else:
            async with app._access.opened().services.sessions.begin() as session:
                await session.execute(_PUT_CLOCK.format(self._ahead // timedelta(microseconds=1)))
                await session.commit(start(f"at-{self._ahead}", status=Status.COMPLETED, delay=None))
        app._access.stir()

    async def settle(self, waits: int) -> None:
        app: Any = self._app
        found = 0
        async with asyncio.timeout(60):
            async for entry in app.entries_of("ada", follow=True):
                found += type(entry.event).__name__ == "MessageAwaited"
                if found == waits:
                    return


async def live_through(stage: Stage) -> list[dict[str, Any]]:
    """A month, a change of the plan, a deployment in the middle of a month, and the rest."""
    handle = await stage.start(first_version)
    await stage.settle(1)
    await stage.move(MONTH)
    await stage.settle(2)
    await stage.move(10 * DAY)
    await handle.signal(change, "large", id="change-1")
    await stage.settle(3)
    await stage.move(5 * DAY)
    handle = await stage.deploy(second_version)
    await stage.settle(3)
    await stage.move(25 * DAY)
    await stage.settle(4)
    await stage.move(MONTH)
    assert await handle.result(timeout=60) == "large"
    return comparable(await handle.history())


def comparable(history: list[Any]) -> list[dict[str, Any]]:
    """The events without what differs from run to run, their times in hours since the beginning."""
    events: list[dict[str, Any]] = [msgspec.json.decode(msgspec.json.encode(event)) for event in history]
    began = events[0]["at"]
    for event in events:
        for name in ("at", "due"):
            if event.get(name) is not None:
                event[name] = round((event[name] - began) / 3_600_000_000)
        for name in ("nonce", "event_id", "source", "time"):
            event.pop(name, None)
    return [event for event in events if event["type"] not in _OF_WORKERS]


@pytest.fixture
async def on_a_database(empty_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[OnADatabase]:
    stage = OnADatabase(empty_url, monkeypatch)
    yield stage
    await stage.close()


@pytest.mark.backends("sqlite", "postgres")  # a test can set the clocks of these
async def test_a_real_database_gets_the_same_history(on_a_database: OnADatabase) -> None:
    async with TestApp([first_version], now=START) as app:
        expected = await live_through(InMemory(app))
    assert [event["type"] for event in expected].count("ActivityScheduled") == 5
    assert await live_through(on_a_database) == expected


async def test_three_months_pass_in_as_many_skips_as_there_are_months() -> None:
    async with TestApp([first_version], now=START) as app:
        await app.start(first_version.options(instance_id="ada"), "ada", 3)
        await app.advance(45 * DAY)
        await app.restart([second_version])
        assert await app.handle("ada", second_version).result() == "small"
        assert (app.skips, app.now) == (2, START + 3 * MONTH)
        assert app.calls.names == ["charge", "charge", "charge", "send_receipt"]
