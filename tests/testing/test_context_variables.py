"""Context variables of a body in a test app, in an app for blocking code, and where they do not reach."""

from __future__ import annotations

from contextvars import ContextVar

import pytest

from romancy import WorkflowContext, activity, workflow
from romancy.sync import SyncRomancy
from romancy.testing import TestApp

tenant: ContextVar[str] = ContextVar("tenant", default="unset")


@activity
async def cvt_sees() -> str:
    return tenant.get()


@activity
def cvt_sees_on_a_thread() -> str:
    return tenant.get()


@activity(executor="process")
def cvt_sees_in_a_process() -> str:
    return tenant.get()


@workflow
async def cvt_asks(ctx: WorkflowContext) -> list[str]:
    tenant.set("t")
    return [await cvt_sees(), await cvt_sees_on_a_thread()]


@workflow
async def cvt_asks_a_process(ctx: WorkflowContext) -> str:
    tenant.set("t")
    return await cvt_sees_in_a_process()


@pytest.mark.anyio
async def test_in_a_test_app_also_the_fakes_see_them() -> None:
    async with TestApp([cvt_asks]) as app:
        assert await app.run(cvt_asks) == ["t", "t"]
        app.mock(cvt_sees_on_a_thread, lambda: f"fake for {tenant.get()}")
        assert await app.run(cvt_asks) == ["t", "fake for t"]


@pytest.mark.anyio
async def test_another_process_does_not_see_them() -> None:
    async with TestApp([cvt_asks_a_process]) as app:
        assert await app.run(cvt_asks_a_process) == "unset"


def test_in_an_app_for_blocking_code() -> None:
    with SyncRomancy("memory://", workflows=[cvt_asks]) as app:
        assert app.run(cvt_asks) == ["t", "t"]
