"""The worker of a body that answers requests dies at each place, and each sender gets the same answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from romancy import RequestError, RequestType, WorkflowContext, activity, workflow
from romancy.testing import crash_at_every_commit

if TYPE_CHECKING:
    from romancy import Handle
    from romancy.testing import TestApp

pytestmark = pytest.mark.anyio

Add = RequestType("add", int, int)
Spoil = RequestType("spoil", int, int)
Close = RequestType("close", None, str)
Rename = RequestType("rename", str, str)


@activity
async def double_of(number: int) -> int:
    return 2 * number


@workflow
async def keeps_account(ctx: WorkflowContext, total: int) -> list[object]:
    """Adds, refuses, fails, goes on with a new run after two, and answers the last one by hand."""
    closed, added = False, 0

    async def add(number: int) -> int:
        nonlocal total, added
        total += await double_of(number)
        added += 1
        return total

    def fits(number: int) -> None:
        if total + 2 * number > 100:
            raise ValueError(f"no room for {number}")

    async def spoil(number: int) -> int:
        raise LookupError(f"{await double_of(number)} is spoilt")

    async def close() -> str:
        nonlocal closed
        closed = True
        return f"closed at {total}"

    async with ctx.handling(Add.by(add, validate=fits), Spoil.by(spoil), Close.by(close)):
        await ctx.until(lambda: closed or added >= 2)
        await ctx.all_handled()
        if not closed:
            return keeps_account.recur(total)
    request = await ctx.wait_request(Rename)
    await request.reply(request.data.upper())
    return [total, request.data]


async def test_each_sender_gets_the_same_answer_wherever_the_worker_dies() -> None:
    answers: list[list[str]] = []

    async def ask(app: TestApp, handle: Handle[Any]) -> None:
        async def told(type: RequestType[Any, Any], data: object, id: str) -> str:
            try:
                return str(await app.request(handle.instance_id, type, data, id=id))
            except RequestError as error:
                return f"{type.name}: {error.__cause__!r}"

        alone = [await told(Add, 5, f"add-{number}") for number in range(3)]
        alone += [await told(Spoil, 1, "spoil"), await told(Add, 50, "too-much")]
        together = await asyncio.gather(told(Add, 5, "add-3"), told(Spoil, 2, "spoil-2"))
        last = [await told(Close, None, "close"), await told(Rename, "Ann", "rename")]
        answers.append([*alone, *together, *last])

    crashes = await crash_at_every_commit(keeps_account.bind(0), drive=ask, effects=lambda: answers[-1])

    assert len(crashes) > 20
    assert crashes[0].result == [40, "Ann"]
    assert crashes[0].effects == [
        "10",
        "20",
        "30",
        "spoil: LookupError('2 is spoilt')",
        "add: ValueError('no room for 50')",
        "40",
        "spoil: LookupError('4 is spoilt')",
        "closed at 40",
        "ANN",
    ]
