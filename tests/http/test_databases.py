"""Events over HTTP on each database: what is long or strange in them is stored or refused, never a fault."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from romancy import Romancy, WorkflowContext, workflow
from romancy.http import asgi
from romancy.http._incoming import STRUCTURED
from tests.http.client import Client

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from romancy_conformance.proxy import Proxy

pytestmark = pytest.mark.anyio

EVENT = {"specversion": "1.0", "id": "e-1", "source": "/s", "type": "tick"}
LONG: dict[str, list[dict[str, Any]]] = {
    "id": [{"id": "i" * 255}, {"id": "é" * 127}, {"id": "i" * 256}, {"id": "i" * 60_000}],
    "source": [{"source": "/" + "s" * 254}, {"source": "s" * 60_000}],
    "type": [{"type": "t" * 255}, {"type": "木" * 85}, {"type": "t" * 256}],
    "subject": [{"subject": "k" * 255}, {"subject": "木" * 85}, {"subject": "k" * 60_000}, {"subject": "\U0001f4a1 "}],
    "time": [{"time": "0001-01-01T00:00:00Z"}, {"time": "9999-12-31T23:59:59.999999Z"}],
    "extensions": [{f"x{number}": "v" * 600 for number in range(100)}],
    "data": [{"data": "\0" * 1000}, {"data": "x" * 2_000_000}, {"data": 1e300}, {"data": [[[[{"": "\U0010ffff"}]]]]}],
}

TO: list[dict[str, Any]] = [{}, {"romancyinstanceid": "w-1"}, {"type": "waits"}]


@workflow(event_handler=True)
async def waits(ctx: WorkflowContext, name: str = "") -> Any:
    return (await ctx.wait_event(name or "never")).data


@pytest.fixture
async def client(storage_url: str) -> AsyncGenerator[Client]:
    async with Romancy(storage_url, workflows=[waits]) as app:
        yield Client(asgi(app, auth="local", max_body=4 * 1024 * 1024))


@pytest.mark.parametrize("what", LONG)
async def test_what_is_long_or_strange(client: Client, what: str) -> None:
    started = await client.post("/workflows/waits?instance_id=w-1")
    statuses: list[int] = []
    for number, changes in enumerate(LONG[what]):
        for to in TO:
            body = json.dumps({**EVENT, "id": f"e-{number}-{len(statuses)}", **changes, **to}).encode()
            answer = await client.post("/", body, content_type=STRUCTURED)
            statuses.append(answer.status)

    assert 202 == started.status
    assert [] == [status for status in statuses if status not in {202, 400, 409, 413}]
    assert 202 in statuses
    assert 200 == (await client.get("/health/ready")).status


@pytest.mark.long
@pytest.mark.backends("postgres", "mysql", "mariadb")
async def test_a_database_that_goes_away_and_comes_back(storage_url: str, proxy_for: Callable[[str], Proxy]) -> None:
    """What cannot be written is a 503 that may be sent again; sent again, it is written once."""
    proxy = proxy_for(storage_url)
    body = json.dumps({**EVENT, "type": "waits"}).encode()
    async with Romancy(proxy.url(storage_url), workflows=[waits]) as app:
        client = Client(asgi(app, auth="local", write_timeout=0.5))

        async def asked() -> list[int]:
            answers = [
                await client.post("/", body, content_type=STRUCTURED),
                await client.get("/health/ready"),
                await client.get("/health/live"),
            ]
            assert all(each.json["retryable"] for each in answers if each.status == 503)
            return [each.status for each in answers]

        before = await client.get("/health/ready")
        proxy.refuses = True
        proxy.cut()
        refused = await asked()
        proxy.refuses = False
        async with asyncio.timeout(60):
            while 503 in (back := await asked()):
                pass
        proxy.black_hole()
        silent = await asked()
        proxy.heal()
        found = [each async for each in app.iter_instances()]

    assert 200 == before.status
    assert [503, 503, 200] == refused
    assert [202, 200, 200] == back
    assert [503, 503, 200] == silent
    assert 1 == len(found)
