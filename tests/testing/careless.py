"""Activities that are not idempotent, and keyed ones, for processes that kill themselves."""

from __future__ import annotations

import os
from pathlib import Path

from romancy import WorkflowContext, activity, activity_context, workflow


def ledger() -> Path:
    return Path(os.environ["ROMANCY_TEST_LEDGER"])


def rows() -> list[str]:
    return sorted(ledger().read_text().split()) if ledger().exists() else []


def rows_and_clear() -> list[str]:
    found = rows()
    ledger().write_text("")
    return found


def _write(text: str) -> None:
    with ledger().open("a") as file:
        file.write(f"{text}\n")


@activity
async def careless(amount: int) -> None:
    _write(str(amount))


@activity
def careless_on_a_thread(amount: int) -> None:
    _write(str(amount))


@activity
async def keyed(amount: int) -> None:
    key = activity_context().idempotency_key
    if f"{key}-{amount}" not in rows():
        _write(f"{key}-{amount}")


@workflow
async def pays_carelessly(ctx: WorkflowContext) -> int:
    for amount in (1, 2):
        await careless(amount)
        await ctx.sleep(0.01)
    return 2


@workflow
async def pays_carelessly_on_threads(ctx: WorkflowContext) -> int:
    for amount in (1, 2):
        await careless_on_a_thread(amount)
        await ctx.sleep(0.01)
    return 2


@workflow
async def pays_with_keys(ctx: WorkflowContext) -> int:
    for amount in (1, 2):
        await keyed(amount)
        await ctx.sleep(0.01)
    return 2


@workflow
async def has_children(ctx: WorkflowContext) -> str:
    child = await ctx.start(pays_with_keys)
    await child.result()
    return child.instance_id


@workflow
async def never_ends(ctx: WorkflowContext) -> None:
    await ctx.sleep(0.001)
    never_ends.recur()


@workflow
async def waits_for_nobody(ctx: WorkflowContext) -> None:
    await ctx.wait_event("never sent")
