"""A factory makes two activities of one name, each in the code of a workflow of its own.

Each is undone by its own compensation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from romancy import (
    Activity,
    RetryPolicy,
    Romancy,
    Status,
    TerminalError,
    WorkflowCancelledError,
    WorkflowContext,
    WorkflowFailedError,
    activity,
    compensation,
    workflow,
)
from romancy_conformance.behaviour.waiting import status_is

if TYPE_CHECKING:
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

undone: list[str] = []
bank_is_down: list[bool] = []


@pytest.fixture(autouse=True)
def forget() -> None:
    """Clear the records of the test before."""
    undone.clear()
    bank_is_down.clear()


@compensation(retry=RetryPolicy.none())
async def same_refund() -> None:
    if bank_is_down:
        raise TerminalError("the bank is down")
    undone.append("money")


def taking(undo: Any) -> Activity[[], None]:
    @activity(name="same_take", compensation=undo)
    async def take() -> None: ...

    return take


take_money = taking(same_refund)


@compensation
async def same_put_back() -> None:
    undone.append("goods")


take_goods = taking(same_put_back)


@workflow(name="same_payment", version="1")
async def payment(ctx: WorkflowContext, truck: str) -> None:
    await take_money()
    if not truck:
        raise TerminalError("no truck")
    await ctx.wait_event("never")


@workflow(name="same_payment", version="2")
async def later_payment(ctx: WorkflowContext, truck: str) -> None:
    if ctx.run > 1:
        raise TerminalError("no money is needed any more")
    await ctx.sleep(1)
    await take_money()


@workflow(name="same_storage")
async def storing(ctx: WorkflowContext) -> None:
    await take_goods()


async def test_it_is_undone_without_the_code(open_app: Open, storage_url: str) -> None:
    async with Romancy(storage_url, workflows=[payment, storing]) as app:
        await app.start(payment.options(instance_id="payment"), truck="red")
        await status_is(app, "payment", Status.WAITING)
    app = await open_app(workflows=[later_payment, storing])
    await app.signal("payment", "wake up")
    await status_is(app, "payment", Status.STUCK)

    await app.cancel("payment")

    with pytest.raises(WorkflowCancelledError):
        await app.handle("payment").result(timeout=60)
    assert undone == ["money"]


async def test_a_retry_that_does_not_ask_for_it_undoes_it(open_app: Open, storage_url: str) -> None:
    bank_is_down.append(True)
    async with Romancy(storage_url, workflows=[payment, storing]) as app:
        await app.start(payment.options(instance_id="payment"), truck="")
        with pytest.raises(WorkflowFailedError):
            await app.handle("payment").result(timeout=60)
    bank_is_down.clear()
    app = await open_app(workflows=[later_payment, storing])

    await app.retry("payment", unsure="done")

    with pytest.raises(WorkflowFailedError, match="no money is needed any more"):
        await app.handle("payment").result(timeout=60)
    assert undone == ["money"]
