"""Workflows, clients and checks for simulations: correct ones, and some with one mistake each.

Module state stands for the world outside. It survives the deaths of the simulated workers.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from romancy import (
    Depends,
    RetryPolicy,
    Romancy,
    WorkflowContext,
    WorkflowFailedError,
    activity,
    activity_context,
    compensation,
    workflow,
)
from romancy.testing import Ledger, SimulatedApp

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from random import Random

ledger = Ledger()
bank: dict[str, int] = {}


# ── a correct saga ──────────────────────────────────────────────────────────────────────────────────────────────────


@compensation
async def refund(order: str) -> None:
    key = activity_context().idempotency_key
    if key not in bank:
        bank[key] = -1
        ledger.did("refund", order)


@activity(compensation=refund)
async def charge(order: str) -> None:
    key = activity_context().idempotency_key
    if key not in bank:
        bank[key] = 1
        ledger.did("charge", order)


@activity(retry=RetryPolicy.none())
def ship(order: str) -> None:
    """A plain function. There is no van for every second order."""
    if order.endswith("2"):
        raise ValueError("no van")
    ledger.did("ship", order)


@workflow
async def order(ctx: WorkflowContext, number: str) -> str:
    await charge(number)
    await ctx.sleep(0.2)
    await ship(number)
    return "done"


async def shop(app: Romancy, chance: Random) -> None:
    first = await app.start(order.options(instance_id="o1"), "o1")
    await asyncio.sleep(chance.uniform(0.0, 0.5))
    second = await app.start(order.options(instance_id="o2"), "o2")
    assert await first.result() == "done"
    try:
        await second.result()
    except WorkflowFailedError:
        return
    raise AssertionError("there was a van")


async def starts_one(app: Romancy, chance: Random) -> None:
    await asyncio.sleep(chance.uniform(0.1, 1.0))
    await app.start(order.options(instance_id="o1"), "o1")


async def one_order_is_paid(app: Romancy) -> None:
    ledger.of("charge").once_each()
    assert sum(bank.values()) == 1
    assert len([each async for each in app.iter_instances()]) == 2


# ── mistakes ────────────────────────────────────────────────────────────────────────────────────────────────────────


@activity
async def charge_carelessly(order: str) -> None:
    ledger.did("charge", order)


@workflow
async def careless(ctx: WorkflowContext) -> None:
    await charge_carelessly("o1")


async def starts_careless(app: Romancy, chance: Random) -> None:
    await app.run(careless)


def charged_once(app: Romancy) -> None:
    ledger.once_each()


@activity
async def note(text: str) -> None:
    pass


@workflow
async def looks_at_the_clock(ctx: WorkflowContext) -> None:
    await note(str(time.time()))
    await ctx.sleep(0.1)


async def starts_clock(app: Romancy, chance: Random) -> None:
    await app.run(looks_at_the_clock)


@activity
async def charge_for_ever(order: str) -> None:
    """It has no compensation."""
    bank[activity_context().idempotency_key] = 1


@workflow
async def unpaid(ctx: WorkflowContext) -> None:
    await charge_for_ever("o2")
    await ship("o2")


async def starts_unpaid(app: Romancy, chance: Random) -> None:
    handle = await app.start(unpaid)
    try:
        await handle.result()
    except WorkflowFailedError:
        return


def nothing_is_paid(app: Romancy) -> None:
    assert sum(bank.values()) == 0, f"{sum(bank.values())} was paid, and the order has failed"


@workflow
async def waits_for_nobody(ctx: WorkflowContext) -> None:
    await ctx.wait_event("never sent")


async def starts_waiting(app: Romancy, chance: Random) -> None:
    await app.start(waits_for_nobody.options(instance_id="w1"))


async def starts_nothing(app: Romancy, chance: Random) -> None:
    pass


async def fails(app: Romancy, chance: Random) -> None:
    await app.start(order.options(instance_id="o1"), "o1")
    raise ValueError("the shop is closed")


def fails_to_prepare(app: SimulatedApp) -> None:
    raise ValueError("there is no key for the till")


# ── what is refused ─────────────────────────────────────────────────────────────────────────────────────────────────


@activity
def sleeps() -> None:
    time.sleep(1)


@activity
async def connects() -> None:
    await asyncio.open_connection("localhost", 1)


@activity
def writes() -> None:
    Path("nowhere").write_text("")


@activity
def reads() -> None:
    assert Path(__file__).read_text()


@activity
def runs() -> None:
    subprocess.run(["true"], check=True)


@activity
def threads() -> None:
    threading.Thread(target=print).start()


@activity
def exits() -> None:
    os._exit(3)


@activity
def blocks() -> None:
    while True:
        pass


@activity
def writes_a_row() -> None:
    with activity_context().session() as db:
        db.execute("select 1")


ASKING = {each.name: each for each in (sleeps, connects, writes, runs, threads, writes_a_row, reads, exits, blocks)}


@workflow
async def asks(ctx: WorkflowContext, name: str) -> None:
    await ASKING[name]()


async def starts_sleeps(app: Romancy, chance: Random) -> None:
    await app.run(asks, "sleeps")


async def starts_connects(app: Romancy, chance: Random) -> None:
    await app.run(asks, "connects")


async def starts_writes(app: Romancy, chance: Random) -> None:
    await app.run(asks, "writes")


async def starts_reads(app: Romancy, chance: Random) -> None:
    await app.run(asks, "reads")


async def starts_runs(app: Romancy, chance: Random) -> None:
    await app.run(asks, "runs")


async def starts_threads(app: Romancy, chance: Random) -> None:
    await app.run(asks, "threads")


async def starts_writes_a_row(app: Romancy, chance: Random) -> None:
    await app.run(asks, "writes_a_row")


async def starts_exits(app: Romancy, chance: Random) -> None:
    await app.run(asks, "exits")


async def starts_blocks(app: Romancy, chance: Random) -> None:
    await app.run(asks, "blocks")


# ── fakes ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def till() -> str:
    raise ConnectionError("no test should ring at the till")


def fake_till() -> str:
    return "fake"


@activity
async def rings(order: str, *, at: str = Depends(till)) -> str:
    return f"{order} at {at}"


@activity
async def calls_the_van(order: str) -> str:
    raise ConnectionError("no test should ring at the van")


@workflow
async def sells(ctx: WorkflowContext) -> str:
    return f"{await rings('o1')}, {await calls_the_van('o1')}"


async def starts_sells(app: Romancy, chance: Random) -> None:
    assert await app.run(sells) == "o1 at fake, a van"


def prepare(app: SimulatedApp) -> AbstractContextManager[None]:
    app.mock(calls_the_van, "a van")
    return app.override(till, fake_till)
