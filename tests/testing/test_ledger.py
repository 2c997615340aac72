"""A ledger tells what activities did, also without a simulation."""

from __future__ import annotations

import pytest

from romancy import RetryPolicy, UsageError, WorkflowContext, activity, workflow
from romancy.testing import Ledger, TestApp

pytestmark = pytest.mark.anyio

ledger = Ledger()


@activity(retry=RetryPolicy.fixed(2, 1))
async def pay(order: str, amount: int) -> None:
    ledger.did("paid", order, amount)


@workflow
async def pays(ctx: WorkflowContext) -> None:
    await pay("o1", 5)
    await pay("o2", 7)


@pytest.fixture(autouse=True)
def _empty() -> None:
    ledger.clear()


async def test_a_ledger_knows_who_did_what() -> None:
    async with TestApp([pays]) as app:
        await app.run(pays.options(instance_id="p1"))

    assert [(each.what, each.details, each.activity_id) for each in ledger] == [
        ("paid", ("o1", 5), "pay:1"),
        ("paid", ("o2", 7), "pay:2"),
    ]
    assert ledger.of("paid", "o2")[0].details == ("o2", 7)
    assert len(ledger.of("paid")[1:]) == len(ledger.of("paid", "o1", 5)) == 1
    assert not ledger.of("paid", "o3")
    assert len(ledger.by("p1")) == 2
    assert not ledger.by("p2")
    ledger.once_each()


async def test_an_effect_that_stands_twice_is_told_with_both_attempts() -> None:
    async with TestApp([pays]) as app:
        app.lose_answer(pay)
        await app.run(pays.options(instance_id="p1"))

    with pytest.raises(AssertionError, match="paid was done 2 times under one idempotency key") as raised:
        ledger.once_each()
    assert "paid o1 5 (pay:1 of p1, attempt 1, in " in str(raised.value)
    assert "paid o1 5 (pay:1 of p1, attempt 2, in " in str(raised.value)
    ledger.of("paid", "o2").once_each()


def test_there_is_no_effect_outside_of_an_activity() -> None:
    with pytest.raises(UsageError, match="while an activity runs"):
        ledger.did("paid", "o1")
