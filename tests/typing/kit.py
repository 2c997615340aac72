"""Programs with the test kit that both type checkers accept, with the types they infer. Nothing here runs."""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, assert_type

from romancy import Depends, Handle, Romancy, WorkflowContext, activity, compensation, workflow
from romancy.testing import (
    ActivityCall,
    ActivityEnvironment,
    Crash,
    Faults,
    Ledger,
    Simulated,
    SimulatedApp,
    TestApp,
    assert_replays,
    crash_at_every_commit,
    simulate,
)

if TYPE_CHECKING:
    from random import Random


@dataclass
class Receipt:
    number: str


class Bank:
    pass


def bank() -> Bank:
    return Bank()


@activity
async def charge(amount: int, *, at: Bank = Depends(bank)) -> Receipt:
    return Receipt(str(amount))


@activity
def remind(customer: str) -> None:
    pass


@activity
async def reserve(item: str, count: int = 1) -> str:
    return item


@activity
def move(item: str, to: int) -> str:
    return item


@compensation
async def release(result: str, item: str, count: int = 1) -> None:
    pass


@workflow
async def subscription(ctx: WorkflowContext, customer: str, months: int = 3) -> int:
    for _ in range(months):
        await charge(9)
        await ctx.sleep(timedelta(days=30))
    return months


def fake_charge(amount: int) -> Receipt:
    return Receipt("fake")


def fake_number(amount: int) -> int:
    return amount


async def slow_number(amount: int) -> int:
    return amount


def fake_move_swapped(item: int, to: str) -> str:
    return to


async def slow_charge(amount: int) -> Receipt:
    return Receipt("slow")


async def fake_release(result: str, item: str, count: int = 1) -> None:
    pass


async def a_test() -> None:
    async with TestApp(workflows=[subscription], now=datetime(2030, 1, 1, tzinfo=UTC)) as app:
        app.mock(charge, fake_charge)
        app.mock(charge, slow_charge)
        app.mock(reserve, lambda item, count=1: item * count)
        app.mock(charge, Receipt("always"))
        app.mock(charge, ConnectionError("no bank"))
        app.mock(charge, TimeoutError)
        app.mock(remind, None)
        app.mock(move, lambda item, to: f"{item} {to}")
        app.mock(move, ConnectionError)
        with app.mocked(charge, fake_charge), app.mocked(release, None):
            app.fail(charge, times=2)
            app.time_out(release)
        app.mock(release, None)
        app.mock(release, fake_release)
        handle = await app.start(subscription, "alice", months=2)
        assert_type(handle, Handle[int])
        await app.advance(timedelta(days=30))
        with app.hold():
            await app.settle()
        assert_type(await handle.result(), int)
        assert_type(await app.run(subscription, "bob"), int)
        assert_type(app.now, datetime)
        assert_type(app.calls.of(charge)[0], ActivityCall)
        assert_type(app.skips, int)
        await app.restart([subscription])


async def an_activity() -> None:
    async with ActivityEnvironment(attempt=2, heartbeat_details=[3]) as env:
        assert_type(await env.run(charge, 9), Receipt)
        assert_type(await env.run(remind, "alice"), None)
        assert_type(await (await env.session()).fetch_one("select 1"), dict[str, Any] | None)


def prepare(app: TestApp) -> None:
    app.mock(charge, fake_charge)


async def drive(app: TestApp, handle: Handle[Any]) -> None:
    await handle.signal("paid", 3, id="paid")


async def crashes() -> None:
    assert_type(await crash_at_every_commit(subscription, "alice", months=2), list[Crash])
    assert_type(await crash_at_every_commit(subscription.bind("alice"), prepare=prepare, drive=drive), list[Crash])
    assert_replays(subscription, "history.jsonl")


async def client(app: Romancy, chance: Random) -> None:
    assert_type(Ledger().of("charge")[0].what, str)


def prepare_worker(app: SimulatedApp) -> None:
    app.mock(charge, Receipt("1"))


async def check(app: Romancy) -> None: ...


def simulations() -> None:
    assert_type(simulate([subscription], client, seeds=range(3), faults=Faults(deaths=1)), Simulated)
    simulate([subscription], client, seed="17/1/2", check=check, prepare=prepare_worker)
    simulate([subscription], check)  # type: ignore[arg-type]
    simulate([charge], client)  # type: ignore[list-item]
    Faults(deaths="two")  # type: ignore[arg-type]


async def mistakes(app: TestApp) -> None:
    app.mock(subscription, 3)  # type: ignore[call-overload]
    app.mock(charge, 5)  # type: ignore[misc]
    app.mock(charge, lambda: Receipt("no amount"))  # type: ignore[misc]
    app.mock(charge, fake_number)  # type: ignore[misc]
    app.mock(charge, slow_number)  # type: ignore[misc]
    app.mock(move, lambda item: item)  # type: ignore[misc]
    app.mock(move, fake_move_swapped)  # type: ignore[misc]
    app.mock(remind, 3)  # type: ignore[misc]
    app.mock(release, 3)  # type: ignore[call-overload]
    app.mock(fake_charge, None)  # type: ignore[call-overload]
    app.mocked(charge, 5)  # type: ignore[misc]
    app.fail(subscription)  # type: ignore[arg-type]
    await app.advance("a day")  # type: ignore[arg-type]
    await app.start(subscription, 3)  # type: ignore[call-overload]
    await crash_at_every_commit(subscription, 3)  # type: ignore[call-overload]
