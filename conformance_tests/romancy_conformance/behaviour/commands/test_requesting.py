"""`romancy request`: prints the answer of a body that runs in another process, or says why there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from romancy import RequestType, WorkflowContext, workflow
from romancy.sync import SyncRomancy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from romancy_conformance.behaviour.commands.buying import Command

Take = RequestType("take", int, int)
Close = RequestType("close", None, int)


@workflow
async def command_account(ctx: WorkflowContext, balance: int) -> int:
    closed = False

    async def take(number: int) -> int:
        nonlocal balance
        if number > balance:
            raise ValueError(f"only {balance} left")
        balance -= number
        return balance

    async def close() -> int:
        nonlocal closed
        closed = True
        return balance

    async with ctx.handling(Take.by(take), Close.by(close)):
        await ctx.until(lambda: closed)
    return balance


@pytest.fixture
def app(url: str) -> Iterator[SyncRomancy]:
    with SyncRomancy(url, workflows=[command_account]) as app:
        app.start(command_account.options(instance_id="a-1"), 100)
        yield app


@pytest.mark.usefixtures("app")
def test_the_reply_is_printed(romancy: Command) -> None:
    first = romancy("request", "a-1", "take", "30", "--id", "t-1")
    again = romancy("request", "a-1", "take", "30", "--id", "t-1")
    failed = romancy("request", "a-1", "take", "300")

    assert [(0, "70\n")] * 2 == [(each.code, each.out) for each in (first, again)]
    assert 1 == failed.code
    assert "ValueError: only 70 left" in failed.err


def test_an_answer_that_does_not_come_in_time_is_asked_for_again(romancy: Command, app: SyncRomancy) -> None:
    late = romancy("request", "a-1", "nothing", "--id", "n", "--timeout", "0.05s")
    accepted = romancy("request", "a-1", "close", "--timeout", "0s", "--id", "c")

    assert 1 == late.code
    assert "no body has taken it yet" in late.err
    assert "`romancy request a-1 nothing --id n`" in late.err
    assert (0, "") == (accepted.code, accepted.out)
    assert "accepted" in accepted.err
    assert 100 == app.handle("a-1", command_account).result()
    assert (0, "100\n") == (
        romancy("request", "a-1", "close", "--id", "c").code,
        romancy("request", "a-1", "close", "--id", "c").out,
    )
    assert 4 == romancy("request", "a-1", "take", "1").code


@pytest.mark.usefixtures("app")
def test_what_cannot_be_asked_is_refused(romancy: Command) -> None:
    assert 3 == romancy("request", "nobody", "take", "1").code
    assert 2 == romancy("request", "a-1", "take", "one").code
    assert 2 == romancy("request", "a-1").code
