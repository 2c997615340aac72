"""The read half of the Durable Streams protocol: catch-up, long-poll, server-sent events, caching and the end."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import msgspec
import pytest

from romancy import EventType, Romancy, Stream, WorkflowContext, workflow
from romancy.http import _durable_streams, anyone, asgi
from romancy_conformance.behaviour.streaming import tries
from tests.http.client import Client

pytestmark = pytest.mark.anyio

WORDS = Stream("words", str)
GO = EventType("go", str)
FINAL = ["attempt 2", "thread 0", "thread 1", "thread 2", "of a step"]


@workflow
async def says_on_signals(ctx: WorkflowContext) -> None:
    while (word := (await ctx.wait_event(GO)).data) != "end":
        await ctx.stream(WORDS).write(word)


async def test_a_client_catches_up_by_offsets_and_knows_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_durable_streams, "_AT_ONCE", 3)
    async with Romancy("memory://", workflows=[tries]) as app:
        client, path = Client(asgi(app, auth=anyone)), "/instances/a/streams/tokens"
        await (await app.start(tries.options(instance_id="a"))).result(timeout=30)
        for settled in ("false", "true"):
            got, offset, offsets = list[Any](), "-1", list[str]()
            while True:
                page = await client.get(f"{path}?offset={offset}&settled={settled}")
                assert (200, "application/json") == (page.status, page.headers["content-type"])
                assert len(page.json) <= 3
                got += page.json
                offset = page.headers["stream-next-offset"]
                offsets.append(offset)
                again = await client.get(f"{path}?offset={offset}&settled={settled}")
                same = await client.get(
                    f"{path}?offset={offset}&settled={settled}", if_none_match=again.headers["etag"]
                )
                assert (304, b"") == (same.status, same.body)
                if "stream-up-to-date" in page.headers:
                    break
                assert page.headers["cache-control"].startswith("private, max-age=")
                assert "stream-closed" not in page.headers
            assert "true" == page.headers["stream-closed"]
            assert "no-cache" in page.headers["cache-control"]
            assert offsets == sorted(offsets)
            words = got if settled == "true" else [one["data"] for one in got if one["kind"] == "data"]
            assert FINAL == words[-5:]
            polled = await client.get(f"{path}?offset={offset}&live=long-poll&settled={settled}")
            assert (204, b"", "true") == (polled.status, polled.body, polled.headers["stream-closed"])
        now = await client.get(f"{path}?offset=now")
        assert ([], "no-store") == (now.json, now.headers["cache-control"])
        head = await client.ask("HEAD", path, b"", [])
        assert (b"", now.headers["stream-next-offset"]) == (head.body, head.headers["stream-next-offset"])
        assert (
            410 == (await client.get(f"/instances/a/streams/other?offset={now.headers['stream-next-offset']}")).status
        )
        for wrong in ("offset=7", "live=long-poll", "offset=-1&live=often", "offset=-1&live=sse&cursor=x"):
            assert 400 == (await client.get(f"{path}?{wrong}")).status, wrong
        assert 404 == (await client.get("/instances/nobody/streams/tokens?offset=-1")).status
        empty = await client.get("/instances/a/streams/other?offset=-1")
        assert ([], "0") == (empty.json, empty.headers["stream-next-offset"])


async def test_a_long_poll_waits_for_what_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Romancy("memory://", workflows=[says_on_signals]) as app:
        client = Client(asgi(app, auth=anyone))
        path = "/instances/a/streams/words?settled=true&live=long-poll"
        await app.start(says_on_signals.options(instance_id="a"))
        polling = asyncio.ensure_future(client.get(f"{path}&offset=now"))
        await app.signal("a", GO, "one")
        polled = await polling
        assert ["one"] == polled.json
        cursor, offset = polled.headers["stream-cursor"], polled.headers["stream-next-offset"]
        monkeypatch.setattr(_durable_streams, "_LONG_POLL", 0.05)
        nothing = await client.get(f"{path}&offset={offset}&cursor={cursor}")
        assert (204, offset, "true") == (
            nothing.status, nothing.headers["stream-next-offset"], nothing.headers["stream-up-to-date"],
        )  # fmt: skip
        assert int(nothing.headers["stream-cursor"]) > int(cursor)


async def test_events_come_with_the_offset_behind_them() -> None:
    async with Romancy("memory://", workflows=[says_on_signals]) as app:
        client = Client(asgi(app, auth=anyone))
        handle = await app.start(says_on_signals.options(instance_id="a"))
        await app.signal("a", GO, "one")
        async for _ in handle.stream(WORDS):
            break
        reading = asyncio.ensure_future(client.get("/instances/a/streams/words?settled=true&offset=-1&live=sse"))
        await app.signal("a", GO, "two")
        await app.signal("a", GO, "end")
        told = [
            dict(re.findall(r"^(\w+): (.*)$", each, re.MULTILINE))
            for each in (await reading).body.decode().split("\n\n")
            if each.startswith("event")
        ]
        words = [word for each in told if each["event"] == "data" for word in msgspec.json.decode(each["data"])]
        assert ["one", "two"] == words
        controls = [msgspec.json.decode(each["data"]) for each in told if each["event"] == "control"]
        assert all({"streamNextOffset", "streamCursor"} <= each.keys() for each in controls)
        assert controls[-1]["streamClosed"] is True
        rest = await client.get(f"/instances/a/streams/words?settled=true&offset={controls[0]['streamNextOffset']}")
        first = told[0]["data"] if told[0]["event"] == "data" else "[]"
        assert words[len(msgspec.json.decode(first)) :] == rest.json
