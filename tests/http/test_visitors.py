"""Visitors over HTTP who may do some things only: each route refuses the others with a 403 that names the action."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from romancy import Romancy, WorkflowContext, workflow
from romancy.errors import WorkflowCancelledError
from romancy.http import Visitor, asgi
from romancy.serialization import Codecs
from tests.event_waits import awaits_an_event
from tests.http.client import Client

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from romancy.serialization import PayloadContext

pytestmark = pytest.mark.anyio

EVENT = {"specversion": "1.0", "id": "e-1", "source": "/till", "type": "paid", "data": 7}
STRUCTURED, BATCH = "application/cloudevents+json", "application/cloudevents-batch+json"
ACTS = [
    ("start", "/workflows/wait", b'{"city": "Graz"}', "application/json"),
    ("cancel", "/cancel/w-0", b"", "application/json"),
    ("signal", "/instances/w-0/signals/paid", b"7", "application/json"),
    ("send", "/", json.dumps({**EVENT, "romancyinstanceid": "w-0"}).encode(), STRUCTURED),
    ("send", "/", json.dumps([{**EVENT, "romancyinstanceid": "w-0"}]).encode(), BATCH),
]
READS = ["/instances", "/instances/w-0", "/instances/w-0/result?timeout=0", "/count", "/openapi.json", "/health/ready"]


class Backwards:
    """A codec that hides as little as this test needs."""

    id = "backwards"

    def encode(self, data: bytes, context: PayloadContext) -> bytes:
        return data[::-1]

    def decode(self, data: bytes, context: PayloadContext) -> bytes:
        return data[::-1]


@workflow(index=["city"])
async def wait(ctx: WorkflowContext, city: str) -> Any:
    return (await ctx.wait_event("paid")).data


@pytest.fixture
async def app() -> AsyncGenerator[Romancy]:
    async with Romancy("memory://", workflows=[wait]) as app:
        await app.start(wait.options(instance_id="w-0"), "Paris")
        yield app


def visited(app: Romancy, **given: Any) -> Client:
    return Client(asgi(app, auth=lambda _: Visitor("ann", **given)))


@pytest.mark.parametrize("allowed", [False, ["cancel"], ["start", "signal"], ["send"]], ids=str)
async def test_each_route_asks_for_its_action(app: Romancy, allowed: Any) -> None:
    client = visited(app, actions=allowed)
    refused = [one for one in ACTS if not allowed or one[0] not in allowed]

    for action, target, body, kind in refused:
        answer = await client.post(target, body, content_type=kind)
        assert (403, "Forbidden", False) == (answer.status, answer.json["error_type"], answer.json["retryable"])
        assert answer.json["error"].startswith(f"you may not {action}:")
    statuses = [(await client.get(target)).status for target in READS]

    assert [200, 200, 202, 200, 200, 200] == statuses
    assert 1 == int(await app.count())


@pytest.mark.parametrize(("action", "target", "body", "kind"), ACTS, ids=["start", "cancel", "signal", "send", "batch"])
async def test_what_is_allowed_is_done(app: Romancy, action: str, target: str, body: bytes, kind: str) -> None:
    await awaits_an_event(app, "w-0")

    answer = await visited(app, actions={action}).post(target, body, content_type=kind)

    assert answer.status in {200, 202}, answer.json
    if action == "cancel":
        with pytest.raises(WorkflowCancelledError):
            await app.handle("w-0").result()
    elif action != "start":
        assert 7 == await app.handle("w-0").result()


async def test_a_name_that_is_no_action_is_a_fault_of_the_hook(app: Romancy, caplog: pytest.LogCaptureFixture) -> None:
    answer = await Client(asgi(app, auth=lambda _: Visitor("ann", actions={"look"}))).get("/count")  # type: ignore[arg-type]

    assert (500, "InternalError") == (answer.status, answer.json["error_type"])
    assert "a set of answer, cancel, failures, fork, limits, pause, purge, resume, retry, rewind" in caplog.text


async def test_events_of_the_dashboards_jobs_are_for_those_who_may_do_everything(app: Romancy) -> None:
    """A job would go on with an action that is not among the visitor's."""
    name = "romancy.dashboard.confirmed"
    client = visited(app, actions={"signal", "send"})
    event = json.dumps({**EVENT, "type": name, "romancyinstanceid": "w-0"}).encode()

    assert 403 == (await client.post(f"/instances/w-0/signals/{name}", b"1")).status
    assert 403 == (await client.post("/", event, content_type=STRUCTURED)).status
    assert 403 == (await client.post("/", b"[" + event + b"]", content_type=BATCH)).status
    assert 202 == (await visited(app).post(f"/instances/w-0/signals/{name}", b"1")).status


async def test_sealed_payloads_stay_sealed() -> None:
    async with Romancy("memory://", workflows=[wait], codecs=Codecs(Backwards())) as app:
        await app.start(wait.options(instance_id="w-0", headers={"tenant": "acme"}), "Paris")
        await app.signal("w-0", "paid", "a secret lamp")
        assert "a secret lamp" == await app.handle("w-0").result()
        sees, not_ = visited(app), visited(app, payloads=False)
        hiding = [
            "/instances/w-0/result", "/instances/w-0/progress", "/instances?results=true", "/instances?headers=true",
            "/instances/w-0/logs", "/instances/w-0/streams/tokens",
            "/instances?where=city%3DParis", "/count?where=city%3DParis", "/count?header=tenant%3Dacme",
        ]  # fmt: skip

        for target in hiding:
            answer = await not_.get(target)
            assert (403, True) == (answer.status, answer.json["error"].startswith("you may not see payloads"))
            assert 200 == (await sees.get(target)).status
        assert "acme" in (await sees.get("/instances/w-0")).body.decode()
        for target in ("/instances/w-0", "/instances", "/count"):
            answer = await not_.get(target)
            assert (200, False) == (answer.status, "acme" in answer.body.decode())


async def test_an_app_without_codecs_has_nothing_to_hide(app: Romancy) -> None:
    client = visited(app, payloads=False)

    assert 200 == (await client.get("/instances?where=city%3DParis")).status
    assert 202 == (await client.get("/instances/w-0/result?timeout=0")).status
