"""Mistakes that both type checkers find. Every line with an `ignore` is an error, or the checker says it is not.

Nothing here runs.
"""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy import Handle, RetryPolicy, Romancy, WorkflowContext, activity, compensation, workflow
from romancy.event import EventType
from romancy.query import InstanceFilter
from romancy.request import RequestType

if TYPE_CHECKING:
    from romancy.sync import SyncRomancy


@compensation
async def release_number(number: int) -> None: ...


@activity(compensation=release_number)  # type: ignore[arg-type]
async def reserve(item: str) -> str:
    return item


@activity
async def charge(amount: int, currency: str) -> float:
    return amount * len(currency)


@activity(retry=5)  # type: ignore[call-overload, untyped-decorator]
async def badly_retried() -> None: ...


@activity(executor="gpu")  # type: ignore[call-overload, untyped-decorator]
async def badly_placed() -> None: ...


@activity(retrry=RetryPolicy.none())  # type: ignore[call-overload, untyped-decorator]
async def misspelt() -> None: ...


@activity(compensation=release_number, commit="lazy")  # type: ignore[call-overload, untyped-decorator]
async def lazy_and_undone(number: int) -> None: ...


@compensation(at_most_once=True)  # type: ignore[call-overload, untyped-decorator]
async def undone_once(number: int) -> None: ...


class Billing:
    async def charge(self, amount: int) -> float:
        return amount


billed = activity(Billing().charge, name="billed")
wrongly_undone = activity(Billing().charge, name="undone", compensation=release_number)  # type: ignore[arg-type]
badly_retried_method = activity(Billing().charge, name="retried", retry=5)  # type: ignore[call-overload]


@workflow
async def bill(ctx: WorkflowContext) -> str:
    await billed("12")  # type: ignore[arg-type]
    await billed(Billing(), 12)  # type: ignore[call-arg, arg-type]
    return await billed(12)  # type: ignore[return-value]


@workflow  # type: ignore[arg-type]
async def without_context(amount: int) -> None: ...


@workflow  # type: ignore[arg-type]
def not_async(ctx: WorkflowContext) -> None: ...


settled = EventType("settled", int)


async def on_text(text: str) -> None: ...


settled.by(on_text)  # type: ignore[arg-type]
change = RequestType("change", int, str)


async def on_number(number: int) -> str:
    return str(number)


async def on_wrong_number(number: int) -> int:
    return number


def check_text(text: str) -> None: ...


change.by(on_text)  # type: ignore[arg-type]
change.by(on_wrong_number)  # type: ignore[arg-type]
change.by(on_number, validate=check_text)  # type: ignore[arg-type]


@workflow
async def order(ctx: WorkflowContext, amount: int) -> str:
    await charge("12", "EUR")  # type: ignore[arg-type]
    await charge(12)  # type: ignore[call-arg]
    await charge(12, "EUR", 3)  # type: ignore[call-arg]
    await charge(12, money="EUR")  # type: ignore[call-arg]
    ctx.on_undo(charge, "12", "EUR")  # type: ignore[arg-type]
    ctx.on_undo(charge, 12)  # type: ignore[call-arg]
    ctx.on_undo(release_number, 12)  # type: ignore[arg-type]
    ctx.on_undo(charge, 12, "EUR").carry_out()  # type: ignore[attr-defined]
    paid: str = await charge(12, "EUR")  # type: ignore[assignment]
    await charge.options(attempts=3)(12, "EUR")  # type: ignore[call-arg]
    await charge.options(retry=3)(12, "EUR")  # type: ignore[arg-type]
    number: str = (await ctx.wait_event(settled)).data  # type: ignore[assignment]
    await ctx.sleep("soon")  # type: ignore[arg-type]
    await ctx.sleep_until(5)  # type: ignore[arg-type]
    await ctx.until(paid == number)  # type: ignore[arg-type]
    await ctx.start(order, "12")  # type: ignore[arg-type]
    if paid == number:
        order.recur("12")  # type: ignore[arg-type]
    return paid + number


async def use(app: Romancy) -> None:
    await app.start(order, "12")  # type: ignore[call-overload]
    await app.start(order)  # type: ignore[call-overload]
    handle = await app.start(order, 12)
    result: int = await handle.result()  # type: ignore[assignment]
    order.bind("12")  # type: ignore[arg-type]
    RetryPolicy(max_attempts="5")  # type: ignore[arg-type]
    print(result)


async def signals_of_the_wrong_type(app: Romancy, handle: Handle[int]) -> None:
    await handle.signal(settled, "three")  # type: ignore[misc]
    await handle.signal(settled)  # type: ignore[arg-type]
    await app.signal("id", settled, "three")  # type: ignore[misc]


async def requests_of_the_wrong_type(app: Romancy, handle: Handle[int]) -> None:
    await handle.request(change, "three")  # type: ignore[misc]
    await handle.request(change)  # type: ignore[arg-type]
    reply: int = await handle.request(change, 3)  # type: ignore[arg-type]
    await app.request("id", change, "three")  # type: ignore[misc]
    print(reply)


async def filters_of_the_wrong_type(app: Romancy) -> None:
    await app.list_instances(status="done")  # type: ignore[arg-type]
    await app.find_instances({"a": 1}, stauts="failed")  # type: ignore[call-arg]
    await app.count(started_after="2026-03-01")  # type: ignore[arg-type]
    await app.cancel_many(instance_id="o-1")  # type: ignore[call-arg]
    await app.check(instance_id="o-1")  # type: ignore[call-arg]
    InstanceFilter(ids=[1])  # type: ignore[list-item]
    InstanceFilter(status="failed").status = "stuck"  # type: ignore[misc]


def without_await(app: SyncRomancy) -> None:
    app.purge_many(status="done")  # type: ignore[arg-type]
    app.start(order, "12")  # type: ignore[call-overload]
    number: int = app.run(order, 12)  # type: ignore[assignment]
    app.start(order, 12).signal(settled, "three")  # type: ignore[misc]
    print(number)


@workflow
async def steps_of_the_wrong_type(ctx: WorkflowContext) -> None:
    text: str = await ctx.step("one", lambda: 1)  # type: ignore[arg-type, return-value]
    await ctx.step("one", lambda: 1, retries=3)  # type: ignore[call-overload]
    print(text)
