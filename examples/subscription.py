"""A monthly subscription, whose code changes while customers are in the middle of a month.

    python -m examples.subscription run ada --plan small           # works until the subscription ends
    python -m examples.subscription change ada large               # from another terminal
    python -m examples.subscription change ada end

Each month is a run of its own (`recur`), so the log of a customer of ten years is as short as that of a new one.
The second version sends a receipt. With `patched`, a month that is under way continues without one; the next has it.
`--code old` runs the first version: start with it, kill it in the middle of a month, and start again without it.
"""

from __future__ import annotations

import argparse
import asyncio
import sys

from romancy import (
    EventTimeoutError,
    EventType,
    Handle,
    Romancy,
    UsageError,
    Workflow,
    WorkflowContext,
    activity,
    workflow,
)

MONTH = 30 * 86_400.0
change = EventType("change", str)


@activity
async def charge(customer: str, month: int, plan: str) -> str:
    print(f"charge {customer} for month {month}, {plan}", flush=True)
    return f"{customer}-{month}"


@activity
async def send_receipt(customer: str, payment: str) -> None:
    print(f"send {customer} the receipt {payment}", flush=True)


async def next_plan(ctx: WorkflowContext, plan: str, length: float) -> str:
    """Return the next month's plan: the same one at the month's end, or another one as soon as one is asked for."""
    try:
        return (await ctx.wait_event(change, timeout=length)).data
    except EventTimeoutError:
        return plan


@workflow(name="subscription")
async def first_version(ctx: WorkflowContext, customer: str, plan: str, month: int, length: float) -> int:
    await charge(customer, month, plan)
    plan = await next_plan(ctx, plan, length)
    if plan == "end":
        return month
    return first_version.recur(customer, plan, month + 1, length)


@workflow(name="subscription")
async def subscription(ctx: WorkflowContext, customer: str, plan: str, month: int, length: float) -> int:
    payment = await charge(customer, month, plan)
    if ctx.patched("receipts"):
        await send_receipt(customer, payment)
    plan = await next_plan(ctx, plan, length)
    if plan == "end":
        return month
    return subscription.recur(customer, plan, month + 1, length)


async def until_the_month_is_paid(handle: Handle[int]) -> None:
    async for entry in handle.entries(follow=True):
        if type(entry.event).__name__ == "MessageAwaited":
            return


async def run(url: str, code: Workflow[[str, str, int, float], int], customer: str, plan: str, length: float) -> int:
    async with Romancy(url, workflows=[code]) as app:
        handle = await app.start(code.options(instance_id=f"subscription-{customer}"), customer, plan, 1, length)
        await until_the_month_is_paid(handle)
        print(f"{customer} has paid", flush=True)
        return await handle.result()


async def request(url: str, customer: str, plan: str) -> None:
    async with Romancy(url, workflows=[subscription], worker=False) as app:
        await app.signal(f"subscription-{customer}", change, plan)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", default="sqlite:///subscriptions.db")
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run")
    running.add_argument("customer")
    running.add_argument("--plan", default="small")
    running.add_argument("--code", choices=["old", "new"], default="new")
    running.add_argument("--month", type=float, default=MONTH, help="its length in seconds")
    changing = commands.add_parser("change")
    changing.add_argument("customer")
    changing.add_argument("plan", help="another plan, which begins at once, or `end`")
    said = parser.parse_args()
    try:
        if said.command == "run":
            code = first_version if said.code == "old" else subscription
            months = asyncio.run(run(said.database, code, said.customer, said.plan, said.month))
            print(f"{said.customer} was with us for {months} months")
        else:
            asyncio.run(request(said.database, said.customer, said.plan))
    except UsageError as error:  # there is no such customer, or the subscription has ended
        sys.exit(str(error))


if __name__ == "__main__":
    main()
