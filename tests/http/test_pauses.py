"""Pauses by name over HTTP: listed, begun and ended, by those who may."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from romancy import Romancy, Status, WorkflowContext, workflow
from romancy.http import Visitor, anyone, asgi
from romancy_conformance.behaviour.waiting import status_is, until
from tests.http.client import Client

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

pytestmark = pytest.mark.anyio


@workflow
async def order(ctx: WorkflowContext) -> str:
    return "done"


@pytest.fixture
async def app(storage_url: str) -> AsyncGenerator[Romancy]:
    async with Romancy(storage_url, workflows=[order]) as app:
        yield app


async def test_names_are_paused_listed_and_unpaused(app: Romancy) -> None:
    client = Client(asgi(app, auth=anyone))
    assert {"activities": [], "workflows": []} == (await client.get("/pauses")).json

    for kind, name in (("workflows", "order"), ("activities", "the bank/charge")):
        done = await client.post(f"/{kind}/{name}/pause", b'{"reason": "closed"}')
        assert (200, {"status": "done", "name": name}) == (done.status, done.json)
        (one,) = (await client.get("/pauses")).json[kind]
        assert one["since"].endswith("Z")
        assert one | {"since": ""} == {"name": name, "reason": "closed", "since": ""}
        again = await client.post(f"/{kind}/{name}/pause")
        assert (409, True) == (again.status, "paused already because closed" in again.json["error"])
    worker = app._access.worker  # pyright: ignore[reportPrivateUsage] - nothing outside tells it
    assert worker is not None
    await until(lambda: "order" in worker.held.workflows)
    instance = await app.start(order)
    await status_is(app, instance.instance_id, Status.PAUSED)
    for target in ("/workflows/order", "/activities/the bank/charge"):
        assert 200 == (await client.post(f"{target}/unpause")).status
        assert 409 == (await client.post(f"{target}/unpause")).status
    assert await instance.result(timeout=60) == "done"
    assert {"activities": [], "workflows": []} == (await client.get("/pauses")).json


@pytest.mark.parametrize(
    ("method", "target", "body", "status"),
    [
        ("GET", "/pauses?x=1", b"", 400), ("POST", "/pauses", b"", 405), ("GET", "/workflows/order/pause", b"", 405),
        ("POST", "/workflows/order/pause", b"[]", 400), ("POST", "/activities/x/unpause?now=1", b"", 400),
        ("POST", f"/workflows/{'x' * 300}/pause", b"", 409),
    ],
)  # fmt: skip
async def test_requests_that_are_wrong(app: Romancy, method: str, target: str, body: bytes, status: int) -> None:
    answer = await Client(asgi(app, auth=anyone)).ask(method, target, body, [])

    assert status == answer.status
    assert [] == [*await app.paused_activities(), *await app.paused_workflows()]


async def test_each_route_asks_whether_the_visitor_may(app: Romancy) -> None:
    clerk = Client(asgi(app, auth=lambda _: Visitor("ann", actions={"signal"})))
    chief = Client(asgi(app, auth=lambda _: Visitor("bob", actions={"pause"})))

    for target in ("/workflows/order", "/activities/charge"):
        for verb in ("pause", "unpause"):
            assert 403 == (await clerk.post(f"{target}/{verb}")).status
        assert 200 == (await chief.post(f"{target}/pause")).status
        assert 403 == (await chief.post(f"{target}/unpause")).status
    assert 200 == (await clerk.get("/pauses")).status


async def test_a_worker_is_asked_to_drain(storage_url: str) -> None:
    async with Romancy(storage_url, workflows=[order], worker_id="w/1") as app:
        client = Client(asgi(app, auth=lambda _: Visitor("ann", actions={"workers"})))
        other = Client(asgi(app, auth=lambda _: Visitor("bob", actions={"pause"})))

        assert 403 == (await other.post("/workers/w/1/drain")).status
        assert 409 == (await client.post("/workers/another/drain")).status
        done = await client.post("/workers/w/1/drain")
        assert (200, {"status": "done", "name": "w/1"}) == (done.status, done.json)
        await until(lambda: app.is_draining)
