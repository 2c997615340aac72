"""A person decides: an expense waits for a manager, who is reminded once, and lapses if nobody answers.

    python -m examples.approval ask lunch-7 120           # works until it is decided, however often it is killed
    python -m examples.approval decide lunch-7 yes Ann    # from another terminal, now or in a week

A decision is stored when `decide` returns, even if no worker runs.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from dataclasses import dataclass

from romancy import (
    EventTimeoutError,
    EventType,
    Handle,
    Romancy,
    Status,
    UsageError,
    WorkflowContext,
    activity,
    workflow,
)


@dataclass
class Decision:
    yes: bool
    by: str


decided = EventType("decided", Decision)


@activity
async def notify(whom: str, text: str) -> None:
    print(f"to the {whom}: {text}", flush=True)


@activity
async def pay_out(expense: str, amount: int) -> None:
    print(f"{amount} paid out for {expense}", flush=True)


@workflow
async def approval(ctx: WorkflowContext, amount: int, patience: float) -> str:
    for request in ("please decide", "please decide today"):
        await notify("manager", f"{ctx.instance_id} costs {amount}, {request}")
        try:
            decision = (await ctx.wait_event(decided, timeout=patience)).data
        except EventTimeoutError:
            continue
        if decision.yes:
            await pay_out(ctx.instance_id, amount)
        await notify("employee", f"{decision.by} said {'yes' if decision.yes else 'no'} to {ctx.instance_id}")
        return "paid" if decision.yes else "refused"
    await notify("employee", f"nobody decided on {ctx.instance_id}")
    return "lapsed"


async def until_it_waits(handle: Handle[str]) -> None:
    async for entry in handle.entries(follow=True):
        if type(entry.event).__name__ == "MessageAwaited":
            return


async def ask(url: str, expense: str, amount: int, patience: float) -> str:
    async with Romancy(url, workflows=[approval]) as app:
        handle = await app.start(approval.options(instance_id=expense), amount, patience)
        await until_it_waits(handle)
        if await handle.status() is Status.WAITING:
            print(f"{expense} waits for a decision", flush=True)
        return await handle.result()


async def decide(url: str, expense: str, decision: Decision) -> None:
    async with Romancy(url, workflows=[approval], worker=False) as app:
        await app.signal(expense, decided, decision)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", default="sqlite:///expenses.db")
    commands = parser.add_subparsers(dest="command", required=True)
    asking = commands.add_parser("ask")
    asking.add_argument("expense")
    asking.add_argument("amount", type=int)
    asking.add_argument("--days", type=float, default=3, help="before the reminder, and again before it lapses")
    deciding = commands.add_parser("decide")
    deciding.add_argument("expense")
    deciding.add_argument("answer", choices=["yes", "no"])
    deciding.add_argument("by")
    said = parser.parse_args()
    try:
        if said.command == "ask":
            print(asyncio.run(ask(said.database, said.expense, said.amount, said.days * 86_400)))
        else:
            asyncio.run(decide(said.database, said.expense, Decision(said.answer == "yes", said.by)))
    except UsageError as error:  # there is no such expense, it is already decided, or it has another amount
        sys.exit(str(error))


if __name__ == "__main__":
    main()
