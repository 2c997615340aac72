"""Workflows with every mistake that `romancy lint` names, and what looks like one and is none."""

from __future__ import annotations

import asyncio
import os
import random
import random as dice
import secrets
import time
import uuid
from datetime import UTC, date, datetime, timedelta

from romancy import Romancy, WorkflowContext, activity, workflow
from tests.linting.shop import stamping
from tests.linting.shop.stamping import Clock, Order

clock = Clock()
now = time.time


@activity
async def charge(amount: int) -> str:
    return f"{time.time()} {uuid.uuid4()} {os.environ.get('HOME')}"


@workflow
async def mistaken(ctx: WorkflowContext, order: Order) -> None:
    time.time()  # 1
    datetime.now(UTC)  # 2
    date.today()  # 3
    dice.choice([1, 2])  # 4
    random.Random().random()  # 5
    uuid.uuid4()  # 6
    with open("settings"):  # 7
        pass
    os.environ.get("HOME")  # 8
    os.getenv("HOME")  # 9
    now()  # 10
    secrets.token_hex()  # 11
    os.urandom(4)  # 12
    sorted([1], key=lambda _: random.random())  # 13
    time.sleep(1)  # 14
    await asyncio.to_thread(time.perf_counter)  # 15
    datetime.today()  # 16


@workflow
async def local_names(ctx: WorkflowContext) -> None:
    import time as t  # 1 in the next line

    t.time()
    from uuid import uuid4  # 2 in the next line

    uuid4()
    take = random.random
    take()  # 3 is the line above

    def inner() -> str:
        return os.environ["HOME"]  # 4

    inner()


@workflow
async def by_functions(ctx: WorkflowContext, order: Order) -> None:
    stamping.deeper()
    stamping.cached()
    stamping.uses_a_lambda()
    clock.tick()
    clock.today
    order.label()
    made = Clock()
    made.tick()
    stamping.read("x")


@workflow
async def innocent(ctx: WorkflowContext, time: Order, moment: datetime) -> str:
    random = ctx.random()
    uuid = ctx.uuid4()
    generator = dice.Random(5)
    now = ctx.now() + timedelta(days=1)
    today = datetime.fromtimestamp(0, UTC)
    label = time.item
    await charge(random.randrange(5))
    await ctx.sleep(generator.random())
    return f"{uuid} {now} {today} {label} {moment.date()}"


app = Romancy("memory://", workflows=[mistaken, local_names, by_functions])
good = Romancy("memory://", workflows=[innocent])
