"""HEAD asks for the headers alone: it waits for nothing, and takes no place of those that wait."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from romancy import Romancy, WorkflowContext, workflow
from romancy.dashboard import asgi as dashboard_of
from romancy.http import asgi
from tests.http.client import Client

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]


@workflow
async def endless(ctx: WorkflowContext) -> None:
    await ctx.wait_event("never")


@workflow
async def quick(ctx: WorkflowContext) -> int:
    return 1


@pytest.fixture
async def app() -> AsyncGenerator[Romancy]:
    async with Romancy("memory://", workflows=[endless, quick]) as app:
        await app.start(endless.options(instance_id="open"))
        await (await app.start(quick.options(instance_id="ended"))).result(timeout=30)
        yield app


@pytest.mark.parametrize(
    ("path", "status", "kind"),
    [
        ("/instances/open/progress", 200, "text/event-stream"),
        ("/instances/ended/progress", 200, "text/event-stream"),
        ("/instances/none/progress", 404, "application/json"),
        ("/instances/open/result?timeout=3600", 202, "application/json"),
        ("/instances/ended/result?timeout=3600", 200, "application/json"),
        ("/instances/none/result", 404, "application/json"),
    ],
)
async def test_a_head_is_answered_at_once(app: Romancy, path: str, status: int, kind: str) -> None:
    client = Client(asgi(app, auth="local", max_waiting=0))

    answer = await client.ask("HEAD", path, b"", [])

    assert (status, kind) == (answer.status, answer.headers["content-type"].partition(";")[0])


@pytest.mark.parametrize("path", ["/changes/instances", "/changes/overview", "/changes/instance?id=open"])
async def test_a_head_opens_no_stream_of_the_dashboard(app: Romancy, path: str) -> None:
    answer = await Client(dashboard_of(app, auth="local")).ask("HEAD", path, b"", [])

    assert (200, "text/event-stream") == (answer.status, answer.headers["content-type"].partition(";")[0])
    assert b"" == answer.body
