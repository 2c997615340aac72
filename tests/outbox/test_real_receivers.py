"""Events as other receivers read them: the official SDK, the library of Standard Webhooks, and another Romancy app."""

from __future__ import annotations

import asyncio
import base64
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx2
import msgspec
import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http
from cloudevents.core.formats.json import JSONFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from romancy import Romancy, WorkflowContext, workflow
from romancy.http import asgi
from romancy.outbox import HttpSender, OutboxEvent, Relay
from romancy_conformance.behaviour.waiting import until

if TYPE_CHECKING:
    from collections.abc import Mapping

    from romancy.instance import Instance

pytestmark = pytest.mark.anyio

SECRETS = ["whsec_" + base64.b64encode(letter * 24).decode() for letter in (b"a", b"b", b"c")]
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40)


def event(key: str | None = "o-1", headers: Mapping[str, str] | None = None, json: bytes = b'{"n":1}') -> OutboxEvent:
    return OutboxEvent(
        id="e-1", type="order.paid", source="/shop/o-1", time=datetime(2026, 3, 1, 12, 30, 5, 250_000, UTC), json=json,
        key=key, headers=headers or {},
    )  # fmt: skip


async def sent(one: OutboxEvent, **options: Any) -> tuple[dict[str, str], bytes]:
    """The headers and the body that leave this process."""
    requests: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        requests.append(request)
        return httpx2.Response(202)

    client = httpx2.AsyncClient(transport=httpx2.MockTransport(answer), trust_env=False)
    async with client, HttpSender("http://localhost/", client=client, **options) as sender:
        await sender.send(one)
    (request,) = requests
    return {name.decode(): value.decode("ascii") for name, value in request.headers.raw}, request.content


@pytest.mark.parametrize("mode", ["structured", "binary"])
@settings(max_examples=25)
@given(
    key=st.none() | TEXT,
    tenant=TEXT,
    data=st.recursive(st.none() | st.booleans() | st.integers(-9, 9) | TEXT, st.lists),
)
def test_the_official_sdk_reads_every_event(mode: str, key: str | None, tenant: str, data: Any) -> None:
    one = event(key, {"tenant": tenant}, msgspec.json.encode(data))
    read = from_http(HTTPMessage(*asyncio.run(sent(one, mode=mode))), JSONFormat())

    assert (read.get_id(), read.get_source(), read.get_type()) == ("e-1", "/shop/o-1", "order.paid")
    assert (read.get_subject(), read.get_time(), read.get_extension("tenant")) == (key, one.time, tenant)
    assert read.get_data() == data


@pytest.mark.parametrize("mode", ["structured", "binary"])
async def test_the_library_of_standard_webhooks_accepts_each_secret(mode: str) -> None:
    headers, body = await sent(event('kü "1"'), mode=mode, secret=SECRETS[:2])

    for secret in SECRETS[:2]:
        Webhook(secret).verify(body, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRETS[2]).verify(body, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRETS[0]).verify(body + b" ", headers)


@workflow
async def tells(ctx: WorkflowContext, order: str) -> None:
    await ctx.publish("paid", {"order": order}, key=order)
    await ctx.publish("hears", f"started by {order}", key=order)


@workflow(event_handler=True)
async def hears(ctx: WorkflowContext, text: str) -> str:
    return text


@workflow
async def waits(ctx: WorkflowContext, order: str) -> dict[str, str]:
    return (await ctx.wait_event("paid", model=dict[str, str], key=order)).data


@pytest.mark.parametrize("mode", ["structured", "binary"])
async def test_another_app_is_woken_and_started_once(mode: Any) -> None:
    async with Romancy(f"memory://hears-{mode}", workflows=[hears, waits]) as other:

        async def started() -> list[Instance]:
            return (await other.list_instances(workflow_name="hears")).instances

        waiting = await other.start(waits, "o-1")
        client = httpx2.AsyncClient(transport=httpx2.ASGITransport(app=asgi(other, auth="local")))
        sender = HttpSender("http://localhost/", mode=mode, client=client)
        async with Romancy(f"memory://tells-{mode}", workflows=[tells], relay=Relay(sender, source="/one")) as app:
            await app.run(tells, "o-1")
            assert await waiting.result(timeout=30) == {"order": "o-1"}
            await until(started)
        (begun,) = await started()
        assert await other.handle(begun.instance_id, hears).result(timeout=30) == "started by o-1"
        await client.aclose()
