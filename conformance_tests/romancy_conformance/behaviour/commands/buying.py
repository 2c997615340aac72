"""Workflows for the tests of commands, and functions that put instances into a database."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from romancy import EventType, RetryPolicy, Romancy, TerminalError, WorkflowContext, activity, workflow
from romancy.status import Status

if TYPE_CHECKING:
    from collections.abc import Coroutine

__all__ = [
    "APPROVED", "Answer", "Command", "approval", "held", "orders", "patience", "prepared", "purchase", "standing",
    "waiting",
]  # fmt: skip

APPROVED = EventType("approved", str)


@activity
async def reserve(item: str) -> str:
    return item


@reserve.compensation
async def release(item: str) -> None:
    """Does nothing."""


@activity(retry=RetryPolicy.none())
async def refuse() -> None:
    raise ValueError("the card was declined")


@activity(retry=RetryPolicy.fixed(9, 3600))
async def hesitate() -> None:
    raise ValueError("not yet")


@workflow
async def approval(ctx: WorkflowContext, item: str, amount: int) -> str:
    await reserve(item)
    event = await ctx.wait_event(APPROVED)
    return event.data


@workflow
async def purchase(ctx: WorkflowContext, item: str) -> None:
    await reserve(item)
    await refuse()


@workflow
async def orders(ctx: WorkflowContext) -> None:
    """Leave a child that has ended, and one that is open."""
    await ctx.start(approval.options(instance_id=f"{ctx.instance_id}-approval"), "lamp", 1)
    await patient.options(instance_id=f"{ctx.instance_id}-patient")()


@workflow
async def patient(ctx: WorkflowContext) -> None:
    """End at once."""


@workflow
async def patience(ctx: WorkflowContext) -> None:
    await hesitate()


@activity
async def hold(item: str) -> str:
    return item


@hold.compensation
async def give_back(item: str) -> None:
    raise TerminalError("nobody is there")


@workflow
async def held(ctx: WorkflowContext, item: str) -> None:
    await hold(item)
    await refuse()


class Answer:
    """The exit code of a command and its output."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


Command = Callable[..., Answer]


def prepared(url: str, *calls: Any, until: Callable[[Romancy], Coroutine[Any, Any, bool]]) -> None:
    """Start these with a worker and let it work until the condition is true."""

    async def prepare() -> None:
        async with Romancy(url, workflows=[approval, purchase, orders, patient, patience, held]) as app:
            await app.start_many(calls)
            while not await until(app):  # noqa: ASYNC110 - another worker of this process may do it
                await asyncio.sleep(0.02)

    asyncio.run(prepare())


def standing(instance_id: str, status: Status) -> Callable[[Romancy], Coroutine[Any, Any, bool]]:
    async def stands(app: Romancy) -> bool:
        return await app.handle(instance_id).status() is status

    return stands


def waiting(url: str, count: int, prefix: str) -> None:
    """Start so many instances that wait for their approval."""
    calls = [approval.options(instance_id=f"{prefix}-{number}").bind("lamp", number) for number in range(count)]

    async def all_wait(app: Romancy) -> bool:
        return len((await app.list_instances(status=Status.WAITING, limit=100)).instances) >= count

    prepared(url, *calls, until=all_wait)
