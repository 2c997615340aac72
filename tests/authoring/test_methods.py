"""Methods of objects as activities: how they are declared, found by an app and told apart."""

from __future__ import annotations

import functools
import inspect
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from romancy import (
    ActivityContext,
    Depends,
    RetryPolicy,
    WorkflowContext,
    WorkflowFailedError,
    activity,
    activity_context,
    compensation,
    workflow,
)
from romancy.errors import RegistrationError, UsageError
from romancy.linting import findings_in
from romancy.sync import SyncRomancy
from romancy.testing import ActivityEnvironment, TestApp

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

untyped: Any = activity


class Bank:
    """A client with methods of every kind."""

    def __init__(self, where: str = "here") -> None:
        self.where = where
        self.asked: list[str] = []

    async def charge(self, amount: int, *, note: str = "") -> str:
        self.asked.append(f"charge {amount}{note} at {time.time() > 0}")
        return f"{amount} {self.where}"

    def look_up(self, name: str) -> str:
        return f"{name} {self.where}"

    async def with_context(self, ctx: ActivityContext, amount: int) -> str:
        return f"{ctx.activity_id} {amount} {self.where}"

    async def refund(self, result: str, amount: int, *, note: str = "") -> None:
        self.asked.append(f"refund {result}")

    async def fails(self) -> None:
        self.asked.append("fails")
        raise ConnectionError(self.where)

    @classmethod
    def rate(cls) -> str:
        return cls.__name__

    @staticmethod
    def plainly(amount: int) -> int:
        return amount

    def generates(self) -> Any:
        yield self

    def provided(self) -> str:
        return self.where

    def worth_it(self, error: Exception) -> bool:
        return len(self.asked) < 3

    def refused(self, declare: Callable[[], object]) -> str:
        with pytest.raises(RegistrationError) as caught:
            declare()
        return str(caught.value)


bank = Bank()
charge = activity(
    bank.charge, name="m.charge", compensation=bank.refund, retry=RetryPolicy.none(), timeout=30, raises=[OSError]
)
look_up = activity(name="m.look_up", commit="lazy")(bank.look_up)
with_context = activity(bank.with_context, name="m.context", pass_context=True)
fails = activity(bank.fails, name="m.fails", retry=RetryPolicy.fixed(9, 0.0))
rate = activity(Bank.rate, name="m.rate")
plainly = activity(bank.plainly)


@workflow
async def m_all(ctx: WorkflowContext) -> list[Any]:
    seen = [await charge(1, note="!"), await look_up("Ann"), await with_context(2), await rate(), await plainly(3)]
    return [*seen, await charge.options(id="mine")(4)]


@pytest.mark.anyio
async def test_all_kinds_of_methods_in_both_forms() -> None:
    async with TestApp([m_all]) as app:
        assert await app.run(m_all) == ["1 here", "Ann here", "m.context:1 2 here", "Bank", 3, "4 here"]
        app.mock(charge, "fake")
        app.mock(look_up, lambda name: f"fake {name}")
        assert (await app.run(m_all))[:2] == ["fake", "fake Ann"]


def test_in_an_app_for_blocking_code() -> None:
    with SyncRomancy("memory://", workflows=[m_all]) as app:
        assert app.run(m_all)[0] == "1 here"


@pytest.mark.anyio
async def test_outside_of_a_workflow_a_call_calls_the_method() -> None:
    assert await charge(5) == "5 here"
    assert await look_up("Bob") == "Bob here"
    async with ActivityEnvironment() as env:
        assert await env.run(charge, 6) == "6 here"
        assert await env.run(with_context, 6) == "m.context 6 here"


def test_the_object_is_no_parameter_and_the_options_are_those_of_any_activity() -> None:
    assert charge.signature.names == ("amount", "note")
    assert list(inspect.signature(charge).parameters) == ["amount", "note"]
    assert (charge.name, charge.timeout, charge.raises, charge.retry) == (
        "m.charge", 30, (OSError,), RetryPolicy.none(),
    )  # fmt: skip
    assert charge.undo is not None
    assert (charge.undo.name, charge.undo.takes_result) == ("m.charge.refund", True)
    assert look_up.lazy
    assert plainly.name == "plainly"


def test_a_method_needs_a_name_of_its_own() -> None:
    told = bank.refused(lambda: activity(bank.charge))
    assert '`charge = activity(bank.charge, name="bank.charge")`' in told
    assert "needs a name of yours" in bank.refused(lambda: activity(retry=RetryPolicy.none())(Bank.rate))
    assert "needs a name of yours" in bank.refused(lambda: compensation(bank.refund))


def test_what_is_no_method_of_an_object_is_refused() -> None:
    assert 'activity(bank.charge, name="bank.charge")' in bank.refused(lambda: untyped(Bank.charge, name="x"))
    assert "write a function that calls it" in bank.refused(lambda: untyped(functools.partial(bank.charge), name="x"))
    assert "generator" in bank.refused(lambda: activity(bank.generates, name="x"))
    assert "needs a function, not builtin" in bank.refused(lambda: untyped(bank.asked.append, name="x"))
    assert "needs a function, not method" in bank.refused(lambda: workflow(name="x")(bank.with_context))  # type: ignore[arg-type]
    assert "no method of an object" in bank.refused(lambda: activity(bank.look_up, name="x", executor="process"))
    assert "no method of an object" in bank.refused(lambda: activity(Bank.rate, name="x", executor="process"))


def test_an_activity_in_the_body_of_a_class_does_not_half_work() -> None:
    def declare() -> object:
        class Shop:
            @activity
            async def sell(self) -> None: ...

        return Shop

    assert '`sell = activity(shop.sell, name="shop.sell")`' in bank.refused(declare)

    class Other:
        @activity
        async def sell(this) -> None: ...  # noqa: N805 - not seen as a method where it is declared

        held = charge

    for taken in ("sell", "held"):
        with pytest.raises(UsageError, match=r"taken from an instance of Other.* = activity\(self\.method, name="):
            getattr(Other(), taken)


@pytest.mark.anyio
async def test_types_of_a_local_class_are_found() -> None:
    @dataclass
    class Order:
        item: str

    class Shop:
        async def sell(self, order: Order) -> list[Order]:
            return [order]

    shop = Shop()
    sell = activity(shop.sell, name="m.sell")

    @workflow(name="m_sells")
    async def sells(ctx: WorkflowContext) -> str:
        return (await sell(Order("pen")))[0].item

    async with TestApp([sells]) as app:
        assert await app.run(sells) == "pen"


# ── methods where functions are taken ───────────────────────────────────────────────────────────────────────────


other_bank = Bank("there")


@activity(retry=RetryPolicy.fixed(9, 0.0))
async def m_given(*, where: str = Depends(other_bank.provided)) -> str:
    return where


patient = Bank()


@activity(retry=RetryPolicy(9, 0.0, retry_on=patient.worth_it))
async def m_asks() -> None:
    patient.asked.append("asked")
    raise ConnectionError


@activity
def m_afterwards() -> None:
    activity_context().after_commit(other_bank.asked.clear)
    activity_context().after_commit(other_bank.provided)


@activity(compensation=compensation(other_bank.refund, name="m.other.refund"))
async def m_takes(amount: int, *, note: str = "") -> str:
    return "taken"


@workflow
async def m_uses(ctx: WorkflowContext) -> str:
    await m_afterwards()
    return await m_given()


@workflow
async def m_gives_up(ctx: WorkflowContext) -> None:
    await m_takes(3)
    await m_asks()


@pytest.mark.anyio
async def test_methods_as_providers_filters_callbacks_and_compensations() -> None:
    async with TestApp([m_uses, m_gives_up]) as app:
        assert await app.run(m_uses) == "there"
        with pytest.raises(WorkflowFailedError):
            await app.run(m_gives_up)
        assert patient.asked == ["asked"] * 3
        assert other_bank.asked == ["refund taken"]
        with app.override(bank.provided, lambda: "of another object"):
            assert await app.run(m_uses) == "there"
    async with TestApp([m_uses]) as app:
        with app.override(other_bank.provided, lambda: "mine"):
            assert await app.run(m_uses) == "mine"


def test_the_code_of_a_method_that_is_an_activity_is_not_judged() -> None:
    assert findings_in([m_all]) == []


PROGRAM = """
from romancy import WorkflowContext, activity, workflow

class Bank:
    def __init__(self, region):
        self.charge = activity(self._charge, name=f"{region}.charge")

    async def _charge(self, amount: int) -> int:
        return amount + 1

    async def twice(self, amount: int) -> int:
        return await self.charge(amount) + await self.charge(amount)

bank = Bank("eu")
paid = activity(bank._charge, name="paid")

def make(bank):
    @workflow
    async def by_closure(ctx: WorkflowContext) -> int:
        return await bank.charge(1)
    return by_closure

by_closure = make(bank)

@workflow
async def by_global(ctx: WorkflowContext) -> int:
    return await bank.twice(1)

@workflow
async def by_name(ctx: WorkflowContext) -> int:
    return await paid(1)

print(*(each.code for each in (by_closure, by_global, by_name)))
"""


def codes(program: str, folder: Path) -> list[str]:
    """Return the versions of the workflows of the program, run in a process of its own."""
    path = folder / "shop.py"
    path.write_text(program)
    return subprocess.run([sys.executable, str(path)], capture_output=True, text=True, check=True).stdout.split()


def test_the_version_counts_names_and_parameters_of_a_method_and_not_its_code(tmp_path: Path) -> None:
    before = codes(PROGRAM, tmp_path)
    assert codes(PROGRAM, tmp_path) == before
    assert codes(PROGRAM.replace("amount + 1", "amount + 2"), tmp_path) == before
    for old, new, differ in (
        ('Bank("eu")', 'Bank("us")', (True, True, False)),
        ("_charge(self, amount: int)", "_charge(self, amount: int, more: int = 0)", (True, True, True)),
        ("(amount) + await", "(amount) - await", (True, True, False)),
    ):
        after = codes(PROGRAM.replace(old, new), tmp_path)
        assert tuple(one != two for one, two in zip(before, after, strict=True)) == differ, old
