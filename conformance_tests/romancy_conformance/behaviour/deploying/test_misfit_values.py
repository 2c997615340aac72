"""A misfit of equal names shows the arguments that differ. Where codecs seal payloads, no row holds them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from romancy import Status, WorkflowContext, ZlibCodec, activity, workflow
from romancy_conformance.behaviour.waiting import status_is

if TYPE_CHECKING:
    from romancy_conformance.behaviour.opening import Open

pytestmark = [pytest.mark.anyio, pytest.mark.unreplayable("the body reads a clock on purpose")]


@activity
async def misfit_note(at: str, what: str) -> None:
    pass


@workflow
async def reads_a_clock(ctx: WorkflowContext) -> None:
    await misfit_note(f"at {time.time_ns()}", "same")
    await ctx.wait_event("go")


async def stuck(open_app: Open, *codecs: ZlibCodec) -> str:
    """The error in the row of an instance that does not fit its log."""
    first = await open_app(workflows=[reads_a_clock], codecs=codecs)
    handle = await first.start(reads_a_clock)
    await status_is(first, handle.instance_id, Status.WAITING)
    await first.drain()
    second = await open_app(workflows=[reads_a_clock], codecs=codecs)
    await second.signal(handle.instance_id, "go")
    await status_is(second, handle.instance_id, Status.STUCK)
    instance = await second.get_instance(handle.instance_id)
    assert instance is not None
    assert instance.error is not None
    return instance.error


async def test_the_arguments_that_differ_are_shown(open_app: Open) -> None:
    error = await stuck(open_app)
    assert 'differs: misfit_note:1, argument at: "at ' in error
    assert "same" not in error.replace("the same calls", "")


async def test_codecs_keep_them_out_of_the_row(open_app: Open) -> None:
    error = await stuck(open_app, ZlibCodec())
    assert '"at ' not in error
    assert "the code now does: activity misfit_note as misfit_note:1" in error
