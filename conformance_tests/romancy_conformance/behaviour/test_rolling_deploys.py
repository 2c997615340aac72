"""Two versions of a workflow's code at once: each goes on with what it can follow, and neither spoils the other's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from romancy import Romancy, Status, WorkflowContext, activity, workflow
from romancy_conformance.behaviour.test_waiting_workflows import status_is

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy import Workflow

    Open = Callable[..., Awaitable[Romancy]]

pytestmark = pytest.mark.anyio

carried_out: list[str] = []


@activity
async def deployed_step(what: str) -> str:
    carried_out.append(what)
    return what


@workflow(name="deployed_line", version="1")
async def old_line(ctx: WorkflowContext) -> str:
    first = await deployed_step("pick")
    await ctx.wait_event("go")
    return f"{first} {await deployed_step('send')}"


@workflow(name="deployed_line", version="2")
async def new_line(ctx: WorkflowContext) -> str:
    first = await deployed_step("weigh")
    await ctx.wait_event("go")
    return f"{first} {await deployed_step('send')}"


OLD: list[Workflow[..., Any]] = [old_line]
NEW: list[Workflow[..., Any]] = [new_line]


@pytest.mark.parametrize("new_stays", [True, False], ids=["new code is there", "new code has gone"])
async def test_old_code_finishes_what_new_code_parked(open_app: Open, storage_url: str, *, new_stays: bool) -> None:
    """F23: nothing ran twice, nothing of the new code is in it, and an instance of the new code is left to that."""
    carried_out.clear()
    async with Romancy(storage_url, workflows=OLD) as old:
        await old.start(old_line.options(instance_id="parcel"))
        await status_is(old, "parcel", Status.WAITING)
    new = await open_app(workflows=NEW)
    await new.signal("parcel", "go")
    await status_is(new, "parcel", Status.STUCK)
    await new.start(new_line.options(instance_id="letter"))
    await status_is(new, "letter", Status.WAITING)
    if not new_stays:
        await new.drain(0)

    old = await open_app(workflows=OLD)

    assert await old.handle("parcel", old_line).result(timeout=60) == "pick send"
    assert carried_out == ["pick", "weigh", "send"]
    letter = await old.get_instance("letter")
    assert letter is not None
    assert letter.status is Status.WAITING
    assert letter.error is None
