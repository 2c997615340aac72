"""A stream over HTTP: server-sent events that go on behind the last one, and nothing that is malformed."""

from __future__ import annotations

import re

import pytest

from romancy import Romancy
from romancy.http import anyone, asgi
from romancy_conformance.behaviour.streaming import TOKENS, tries
from tests.http.client import Client

pytestmark = pytest.mark.anyio


def events(body: bytes) -> list[dict[str, str]]:
    return [dict(re.findall(r"^(\w+): (.*)$", each, re.MULTILINE)) for each in body.decode().split("\n\n") if each]


async def test_events_go_on_behind_the_last_event_id() -> None:
    async with Romancy("memory://", workflows=[tries]) as app:
        client = Client(asgi(app, auth=anyone))
        await app.start(tries.options(instance_id="a/b"))
        whole = await client.get("/instances/a/b/streams/tokens")
        told = events(whole.body)
        assert "text/event-stream; charset=utf-8" == whole.headers["content-type"]
        assert ["data", "discard", "data", "settled"] == [each["event"] for each in told[:4]]
        assert ["end"] == [each["event"] for each in told if "id" not in each]
        assert told[0]["data"].startswith('{"data":"attempt 1","source":"fails_once:1","attempt":1,"at":"')
        for place, each in enumerate(told[:-1]):
            rest = await client.get("/instances/a/b/streams/tokens", last_event_id=each["id"])
            assert [(one["event"], one["data"]) for one in told[place + 1 :]] == [
                (one["event"], one["data"]) for one in events(rest.body)
            ]
        final = events((await client.get("/instances/a/b/streams/tokens?settled=true")).body)
        assert 5 == len([each for each in final if each["event"] == "data"])

        other = await client.get("/instances/a/b/streams/other", last_event_id=told[0]["id"])
        assert (410, "StreamGoneError") == (other.status, other.json["error_type"])
        assert 400 == (await client.get("/instances/a/b/streams/tokens", last_event_id="7")).status
        assert 400 == (await client.get("/instances/a/b/streams/tokens?settled=perhaps")).status
        assert 404 == (await client.get("/instances/nobody/streams/tokens")).status
        assert ["tokens"] == await app.streams_of("a/b")
        assert told[0]["id"] == (await anext(app.stream_of("a/b", TOKENS))).offset
