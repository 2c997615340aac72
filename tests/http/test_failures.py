"""Failures by their causes over HTTP: listed, found by their group, and silenced by those who may."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from romancy import Romancy, WorkflowContext, WorkflowFailedError, workflow
from romancy.http import Visitor, anyone, asgi
from tests.http.client import Client

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

pytestmark = pytest.mark.anyio


@workflow
async def http_failing(ctx: WorkflowContext, number: int) -> None:
    raise LookupError(f"order {number} is gone")


@pytest.fixture
async def app(storage_url: str) -> AsyncGenerator[Romancy]:
    async with Romancy(storage_url, workflows=[http_failing]) as app:
        yield app


async def fail(app: Romancy, *numbers: int) -> None:
    for number in numbers:
        handle = await app.start(http_failing.options(instance_id=f"h-{number}"), number)
        with pytest.raises(WorkflowFailedError):
            await handle.result(timeout=30)


async def test_failures_are_listed_and_found_by_their_group(app: Romancy) -> None:
    client = Client(asgi(app, auth=anyone))
    assert (await client.get("/failures")).json == {"groups": [], "looked_at": 0, "more": False}
    await fail(app, 1, 2)
    ((group,),) = [(await client.get("/failures")).json["groups"]]
    assert (group["number"], group["text"], group["workflow_name"]) == (2, "order … is gone", "http_failing")
    assert group["since"].endswith("Z")
    found = (await client.get(f"/instances?error={group['group']}")).json["instances"]
    assert [one["instance_id"] for one in found] == ["h-2", "h-1"]
    assert [one["instance_id"] for one in (await client.get("/instances?error=order%201")).json["instances"]] == ["h-1"]
    assert (await client.get(f"/count?error={group['group']}")).json["count"] == 2
    assert (await client.get("/failures?workflow_name=other")).json["groups"] == []


async def test_a_group_is_silenced_over_http(app: Romancy) -> None:
    client = Client(asgi(app, auth=anyone))
    await fail(app, 1)
    group = (await client.get("/failures")).json["groups"][0]["group"]
    assert (
        await client.post(f"/failures/{group}/silence", b'{"reason": "known"}', content_type="application/json")
    ).status == 200
    assert (await client.get("/failures")).json["groups"] == []
    (shown,) = (await client.get("/failures?silenced=true")).json["groups"]
    assert (shown["silenced"], shown["reason"]) == (True, "known")
    assert (await client.post(f"/failures/{group}/unsilence")).status == 200
    assert len((await client.get("/failures")).json["groups"]) == 1


async def test_a_bad_request_is_named_and_a_visitor_who_may_not_is_refused(app: Romancy) -> None:
    client = Client(asgi(app, auth=anyone))
    for target in ("/failures?limit=0", "/failures?limit=1001", "/failures?silenced=perhaps", "/failures?what=1"):
        assert (await client.get(target)).status == 400, target
    assert (await client.post("/failures/f-1/silence")).status == 400
    reader = Client(asgi(app, auth=lambda _: Visitor("bob", actions={"limits"})))
    assert (await reader.get("/failures")).status == 200
    assert (await reader.post("/failures/f-000000000000/silence")).status == 403
