"""The view of log lines: the newest first page, by level, behind a cursor, and nothing that a line could break."""

from __future__ import annotations

import asyncio

import pytest

from romancy import Romancy, WorkflowContext, workflow
from romancy.dashboard import Visitor, asgi
from romancy_conformance.behaviour.coded import Masking
from romancy_conformance.behaviour.logging_flows import chatty, retries
from tests.dashboard.browsing import Browser

pytestmark = pytest.mark.anyio


@workflow
async def hostile(ctx: WorkflowContext) -> None:
    ctx.log.info("<script>alert(1)</script> \x1b[31m %s", "half \ud83d")


async def ended(app: Romancy, instance_id: str) -> None:
    await app.handle(instance_id).result(timeout=30)
    async with asyncio.timeout(30):
        assert [line async for line in app.logs_of(instance_id, follow=True)]


async def shown(browser: Browser, url: str) -> str:
    answer = await browser.get(url)
    assert 200 == answer.status
    return answer.body.decode()


async def test_the_newest_lines_come_first_and_all_can_be_read() -> None:
    async with Romancy("memory://", workflows=[chatty], keep_logs="INFO") as app:
        await app.start(chatty.options(instance_id="c"), 450)
        await ended(app, "c")
        browser = Browser(asgi(app, auth="local"))

        newest = await shown(browser, "/instances/c?view=lines")
        assert ("line 449<" in newest, "line 250<" in newest, "line 249<" in newest) == (True, True, False)
        first = await shown(browser, "/instances/c?view=lines&after=0-0")
        assert ("line 0<" in first, "line 199<" in first, "line 200<" in first) == (True, True, False)
        assert "Later lines" in first
        assert "line 0<" not in await shown(browser, "/instances/c?view=lines&after=0-0&level=ERROR")
        assert 400 == (await browser.get("/instances/c?view=lines&after=x")).status


async def test_a_line_with_a_traceback_and_its_activity() -> None:
    async with Romancy("memory://", workflows=[retries], keep_logs="INFO") as app:
        await app.start(retries.options(instance_id="r"))
        await ended(app, "r")
        page = await shown(Browser(asgi(app, auth="local")), "/instances/r?view=lines&level=error")

        assert "attempt 1 fails" in page
        assert "ValueError: no card" in page
        assert "fails_once:1" in page
        assert "attempt 2<" not in page


async def test_hostile_lines_are_text() -> None:
    async with Romancy("memory://", workflows=[hostile], keep_logs="INFO") as app:
        await app.start(hostile.options(instance_id="h"))
        await ended(app, "h")
        page = await shown(Browser(asgi(app, auth="local")), "/instances/h?view=lines")

        assert "<script>alert" not in page
        assert "&lt;script&gt;alert(1)" in page
        assert "half \\ud83d" in page


async def test_without_its_key_a_line_stays_sealed() -> None:
    async with Romancy("memory://", workflows=[chatty], keep_logs="INFO", codecs=[Masking()]) as app:
        await app.start(chatty.options(instance_id="s"), 2)
        await ended(app, "s")
        sees = Browser(asgi(app, auth=lambda _: Visitor("ann")))
        not_ = Browser(asgi(app, auth=lambda _: Visitor("ben", payloads=False)))
        assert "line 1<" in await shown(sees, "/instances/s?view=lines")
        page = await shown(not_, "/instances/s?view=lines")
        assert ("line 1<" in page, "sealed: it takes" in page) == (False, True)


async def test_an_instance_without_lines_says_what_keeps_them() -> None:
    async with Romancy("memory://", workflows=[chatty]) as app:
        await (await app.start(chatty.options(instance_id="n"), 2)).result(timeout=30)
        assert "keep_logs=" in await shown(Browser(asgi(app, auth="local")), "/instances/n?view=lines")
