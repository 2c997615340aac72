"""Ids with line breaks and slashes in the paths of HTTP, on each database."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

import pytest

from romancy import Romancy, WorkflowContext, workflow
from romancy.http import asgi
from tests.http.client import Client

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from starlette.types import Receive, Scope, Send

pytestmark = pytest.mark.anyio

IDS = (
    "order\n42", "\n", "order\n", "a/b\nc/d\n", "\r\x85\u2028", "a/result", "/progress", "a/signals/go", "/", "a//b/",
    "é/ü", "a%2Fb", "100% / 7?#&=+ \"'", "parent.child:1-8b839364",
)  # fmt: skip


@workflow
async def echo(ctx: WorkflowContext, name: str) -> str:
    return str((await ctx.wait_event("go\n", model=str)).data) + name


@pytest.fixture
async def client(storage_url: str) -> AsyncGenerator[Client]:
    async with Romancy(storage_url, workflows=[echo]) as app:
        http = asgi(app, auth="local")

        async def served(scope: Scope, receive: Receive, send: Send) -> None:
            raw = scope["path"].encode()
            await http({**scope, "path": unquote(scope["path"]), "raw_path": raw}, receive, send)  # as servers do

        yield Client(served)


@pytest.mark.parametrize("instance_id", IDS)
async def test_every_route_takes_the_id_as_it_is(client: Client, instance_id: str) -> None:
    name = quote(instance_id, safe="")
    started = await client.post(f"/workflows/echo?instance_id={name}", b'"x"')
    status = await client.get(f"/instances/{name}")
    signalled = await client.post(f"/instances/{name}/signals/go%0A", b'"gone "')
    result = await client.get(f"/instances/{name}/result?timeout=30")
    progress = await client.get(f"/instances/{name}/progress")
    unpaused = await client.post(f"/unpause/{name}")
    paused = await client.post(f"/pause/{name}", b'{"reason": "late"}')
    cancelled = await client.post(f"/cancel/{name}")

    answers = (started, status, signalled, result, progress, unpaused, paused, cancelled)
    assert [202, 200, 202, 200, 200, 409, 409, 409] == [answer.status for answer in answers]
    assert instance_id == status.json["instance_id"]
    assert {"instance_id": instance_id, "status": "completed", "result": "gone x"} == result.json


async def test_an_id_before_a_line_break_is_another_one(client: Client) -> None:
    await client.post("/workflows/echo?instance_id=order", b'"x"')

    assert 404 == (await client.get("/instances/order%0A")).status
    assert 404 == (await client.post("/cancel/order%0A")).status
    assert 404 == (await client.get("/health/live%0A")).status


async def test_an_instance_is_paused_and_unpaused(client: Client) -> None:
    await client.post("/workflows/echo?instance_id=p&delay=3600", b'"x"')

    paused = await client.post("/pause/p", b'{"reason": "the bank is down"}')
    again = await client.post("/pause/p")
    shown = await client.get("/instances/p")
    unpaused = await client.post("/unpause/p")

    assert (200, {"status": "paused", "instance_id": "p"}) == (paused.status, paused.json)
    assert 409 == again.status
    assert ("paused", "the bank is down") == (shown.json["status"], shown.json["error"])
    assert 200 == unpaused.status
    assert "paused" != unpaused.json["status"]
    assert 404 == (await client.post("/pause/nobody")).status
