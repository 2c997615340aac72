"""The log lines of an instance over HTTP: page by page, and nothing that is malformed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from romancy import Romancy
from romancy.http import anyone, asgi
from romancy_conformance.behaviour.logging_flows import chatty, retries
from tests.http.client import Client

pytestmark = pytest.mark.anyio


async def lines_of(app: Romancy, instance_id: str) -> list[Any]:
    async with asyncio.timeout(30):
        return [line async for line in app.logs_of(instance_id, follow=True)]


async def test_pages_have_all_lines() -> None:
    async with Romancy("memory://", workflows=[chatty, retries], keep_logs="INFO") as app:
        client = Client(asgi(app, auth=anyone))
        for call in (chatty.options(instance_id="a/b"),):
            await (await app.start(call, 5)).result(timeout=30)
        await (await app.start(retries.options(instance_id="r"))).result(timeout=30)
        await lines_of(app, "a/b")
        await lines_of(app, "r")

        seen: list[str] = []
        after = ""
        while True:
            page = (await client.get(f"/instances/a/b/logs?limit=2{after}")).json
            seen += [line["message"] for line in page["lines"]]
            if page["next"] is None:
                break
            after = f"&after={page['next']}"
        assert [f"line {number}" for number in range(5)] == seen
        (failed,) = (await client.get("/instances/r/logs?level=ERROR")).json["lines"]
        assert ("attempt 1 fails", "fails_once:1", 1) == (failed["message"], failed["activity_id"], failed["attempt"])
        assert "ValueError: no card" in failed["error"]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("after=7", 400),
        ("after=0-0", 200),
        (f"after={'f' * 16}-{'9' * 18}", 200),
        ("after=%D9%A1-1", 400),
        ("level=LOUD", 400),
        ("limit=0", 400),
        ("limit=1001", 400),
        ("follow=true", 400),
    ],
)
async def test_what_is_malformed_is_refused(query: str, status: int) -> None:
    async with Romancy("memory://", workflows=[chatty]) as app:
        client = Client(asgi(app, auth=anyone))
        await (await app.start(chatty.options(instance_id="a"), 1)).result(timeout=30)

        assert status == (await client.get(f"/instances/a/logs?{query}")).status
        assert 404 == (await client.get("/instances/nobody/logs")).status
