"""The view of streams: what is final, open and discarded, live, and nothing that an item could break."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from romancy import Romancy, Stream, WorkflowContext, workflow
from romancy.dashboard import Visitor, asgi
from romancy.dashboard._instance_page import instance_question
from romancy_conformance.behaviour.coded import Masking
from romancy_conformance.behaviour.streaming import GO, TOKENS, chat, tries
from tests.dashboard.browsing import Browser

pytestmark = pytest.mark.anyio


@workflow
async def hostile_stream(ctx: WorkflowContext) -> None:
    await ctx.stream(Stream("<b>", str)).write("<script>alert(1)</script>")
    await ctx.stream(Stream("data", dict[str, int])).write({"number": 7})


async def shown(app: Romancy, url: str) -> str:
    answer = await Browser(asgi(app, auth="local")).get(url)
    assert 200 == answer.status
    return answer.body.decode()


async def test_it_shows_what_became_of_what_was_written() -> None:
    async with Romancy("memory://", workflows=[tries, hostile_stream, chat]) as app:
        await (await app.start(tries.options(instance_id="t"))).result(timeout=30)
        page = await shown(app, "/instances/t?view=streams")
        assert "<strong>tokens</strong>" in page
        assert "thread 0thread 1thread 2" in page
        discarded = page.index("attempt 1")
        assert "discarded, 1 item<" in page[:discarded]
        assert "final, 1 item<" in page[discarded : page.index("attempt 2")]

        await (await app.start(hostile_stream.options(instance_id="h"))).result(timeout=30)
        page = await shown(app, "/instances/h?view=streams")
        assert "<script>alert" not in page
        assert "&lt;script&gt;alert(1)" in page
        assert "&lt;b&gt;" in page
        assert "number" in await shown(app, "/instances/h?view=streams&stream=data")

        await app.start(chat.options(instance_id="c"))
        async for _ in app.stream_of("c", TOKENS):
            break
        page = await shown(app, "/instances/c?view=streams")
        assert "&amp;streams=true" in page
        await app.terminate("c")


async def test_an_open_page_is_told_of_what_is_written() -> None:
    async with Romancy("memory://", workflows=[chat]) as app:
        handle = await app.start(chat.options(instance_id="c"))
        reader: Any = SimpleNamespace(store=app._access.opened())  # pyright: ignore[reportPrivateUsage]
        _, question = instance_question(reader, "c", streams=True)
        first = await question()
        await app.signal("c", GO, "again")
        await app.signal("c", GO, "end")
        await handle.result(timeout=30)
        assert first != await question()


async def test_a_sealed_stream_stays_sealed() -> None:
    async with Romancy("memory://", workflows=[tries], codecs=[Masking()]) as app:
        await (await app.start(tries.options(instance_id="s"))).result(timeout=30)
        browser = Browser(asgi(app, auth=lambda _: Visitor("ben", payloads=False)))
        page = (await browser.get("/instances/s?view=streams")).body.decode()
        assert "thread 0" not in page
