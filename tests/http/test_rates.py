"""Rates over HTTP: what begins, ends and fails in a minute, by workflow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from romancy import Romancy, WorkflowContext, WorkflowFailedError, workflow
from romancy.http import anyone, asgi
from tests.http.client import Client

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

pytestmark = pytest.mark.anyio


@workflow
async def http_counted(ctx: WorkflowContext, number: int) -> int:
    if number < 0:
        raise ValueError(f"{number} is negative")
    if number:
        await ctx.wait_event("go")
    return number


@pytest.fixture
async def app(storage_url: str) -> AsyncGenerator[Romancy]:
    async with Romancy(storage_url, workflows=[http_counted]) as app:
        yield app


async def test_what_has_begun_ended_and_failed_is_told(app: Romancy) -> None:
    client = Client(asgi(app, auth=anyone))
    assert (await client.get("/rates")).json["workflows"] == []
    await (await app.start(http_counted, 0)).result(timeout=30)
    await app.start(http_counted, 1)
    with pytest.raises(WorkflowFailedError):
        await (await app.start(http_counted, -1)).result(timeout=30)

    answer = (await client.get("/rates?within=600")).json

    (one,) = answer["workflows"]
    assert (one["workflow_name"], one["open"], one["change"]) == ("http_counted", 1, 1)
    spans = one["over_time"]
    assert [sum(span[each] for span in spans) for each in ("begun", "ended", "failed")] == [3, 2, 1]
    assert (round(one["begun"] * 10), round(one["ended"] * 10), round(one["failed"] * 10)) == (3, 2, 1)
    assert (len(spans), answer["uncounted"]) == (12, [])
    assert answer["since"].endswith("Z")


@pytest.mark.parametrize("target", ["/rates?within=0", "/rates?within=-1", "/rates?within=x", "/rates?what=1"])
async def test_a_bad_request_is_named(app: Romancy, target: str) -> None:
    answer = await Client(asgi(app, auth=anyone)).get(target)
    assert answer.status == 400
    assert "within" in answer.json["error"]
