"""Requests to instances over HTTP: answered in time or found later by their ids, by those who may."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from romancy import Codecs, RequestType, Romancy, WorkflowContext, ZlibCodec, workflow
from romancy.http import Visitor, anyone, asgi
from tests.http.client import Client

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

pytestmark = pytest.mark.anyio

Take = RequestType("take", int, int)
Close = RequestType("close", None, int)


@workflow
async def http_account(ctx: WorkflowContext, balance: int) -> int:
    closed = False

    async def take(number: int) -> int:
        nonlocal balance
        if number == 13:
            raise LookupError("bad luck")
        balance -= number
        return balance

    def enough(number: int) -> None:
        if number > balance:
            raise ValueError(f"only {balance} left")

    async def close() -> int:
        nonlocal closed
        closed = True
        return balance

    async with ctx.handling(Take.by(take, validate=enough), Close.by(close)):
        await ctx.until(lambda: closed)
    return balance


@pytest.fixture
async def app(storage_url: str) -> AsyncGenerator[Romancy]:
    async with Romancy(storage_url, workflows=[http_account]) as app:
        await app.start(http_account.options(instance_id="a/1"), 100)
        yield app


async def test_a_request_is_answered(app: Romancy) -> None:
    client = Client(asgi(app, auth=anyone))

    answered = [await client.post("/instances/a/1/requests/take?timeout=30&id=t-1", b"5") for _ in range(2)]
    refused = await client.post("/instances/a/1/requests/take?timeout=30", b"500")
    misfit = await client.post("/instances/a/1/requests/take?timeout=30", b'"five"')
    failed = await client.post("/instances/a/1/requests/take?timeout=30", b"13")

    expected = {"instance_id": "a/1", "id": "t-1", "status": "answered", "reply": 95}
    assert [(200, expected)] * 2 == [(each.status, each.json) for each in answered]
    assert (200, "refused", "ValueError") == (refused.status, refused.json["status"], refused.json["error_type"])
    assert "only 95 left" in refused.json["error"]
    assert (200, "refused") == (misfit.status, misfit.json["status"])
    assert (200, "failed", "LookupError") == (failed.status, failed.json["status"], failed.json["error_type"])


async def test_an_answer_that_does_not_come_in_time_is_found_later(app: Romancy) -> None:
    client = Client(asgi(app, auth=anyone))

    late = [await client.post(f"/instances/a/1/requests/nothing{more}", b"1") for more in ("", "?timeout=0.05&id=n")]
    closed = await client.post("/instances/a/1/requests/close?timeout=30")
    assert 100 == await app.handle("a/1").result()
    unanswered = await client.post("/instances/a/1/requests/nothing?timeout=30&id=n", b"1")

    assert [(202, "accepted")] * 2 == [(each.status, each.json["status"]) for each in late]
    assert "n" == late[1].json["id"]
    assert (200, 100) == (closed.status, closed.json["reply"])
    assert (200, "unanswered") == (unanswered.status, unanswered.json["status"])


async def test_what_cannot_be_asked_is_refused(app: Romancy) -> None:
    client = Client(asgi(app, auth=anyone))

    unknown = await client.post("/instances/nobody/requests/take", b"1")
    malformed = await client.post("/instances/a/1/requests/take", b"{")
    await client.post("/instances/a/1/requests/close?timeout=30")
    assert 100 == await app.handle("a/1").result()
    ended = await client.post("/instances/a/1/requests/take", b"1")

    assert (404, "InstanceNotFoundError") == (unknown.status, unknown.json["error_type"])
    assert 400 == malformed.status
    assert (409, "InstanceEndedError") == (ended.status, ended.json["error_type"])


async def test_whoever_may_not_see_payloads_gets_no_reply() -> None:
    async with Romancy("memory://", workflows=[http_account], codecs=Codecs(ZlibCodec())) as app:
        handle = await app.start(http_account.options(instance_id="a/1"), 100)
        sees = Client(asgi(app, auth=lambda _: Visitor("ann")))
        not_ = Client(asgi(app, auth=lambda _: Visitor("ann", payloads=False)))

        refused = await not_.post("/instances/a/1/requests/take?timeout=30", b"5")
        answered = await sees.post("/instances/a/1/requests/take?timeout=30", b"5")

        assert (403, "Forbidden") == (refused.status, refused.json["error_type"])
        assert (200, 95) == (answered.status, answered.json["reply"])
        assert 95 == await handle.request(Close)
