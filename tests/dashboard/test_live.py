"""Open pages hear of changes, from one poller, for less than a query a second."""

# Only the dashboard knows how many pages it serves.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import pytest

from romancy import Romancy, WorkflowContext, workflow
from romancy.dashboard import asgi
from romancy.dashboard._live import OpenPages
from romancy.dashboard.bulk._job import BULK
from romancy.dashboard.bulk._records import Job
from romancy_conformance.behaviour.waiting import until
from tests.dashboard.browsing import Browser
from tests.dashboard.listening import Page
from tests.event_waits import awaits_an_event

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


pytestmark = pytest.mark.anyio


@workflow
async def wait(ctx: WorkflowContext) -> str:
    return (await ctx.wait_event("go")).type


@pytest.fixture
async def app(storage_url: str) -> AsyncGenerator[Romancy]:
    async with Romancy(storage_url, workflows=[wait]) as app:
        await app.start(wait.options(instance_id="w-1"))
        yield app


async def test_a_page_hears_of_a_change(app: Romancy) -> None:
    dashboard = asgi(app, auth="local")
    dashboard._live = OpenPages(every=0.05)
    page, other = Page(dashboard, "/changes/instances"), Page(dashboard, "/changes/instances?id=nobody")
    await page.answer.say(b"event: known")
    await other.answer.say(b"event: known")

    await app.start(wait.options(instance_id="w-2"))
    await page.answer.say(b"event: changed")

    assert b"event: changed" not in other.answer.body
    assert "text/event-stream" in page.answer.headers["content-type"]
    assert "no" == page.answer.headers["x-accel-buffering"]
    await page.leave()
    await other.leave()
    assert 0 == dashboard._live.pages


@pytest.mark.parametrize("page", ["/instances/w-1", "/job?id=bulk-1"])
async def test_what_ended_between_a_page_and_its_stream_is_heard_of(app: Romancy, page: str) -> None:
    dashboard = asgi(app, auth="local")
    browser = Browser(dashboard)
    instance_id = page.rpartition("/")[2].rpartition("=")[2]
    if instance_id == "bulk-1":
        jobs = await dashboard._jobs.app()
        await jobs.start(BULK.options(instance_id="bulk-1"), Job("signal", "id=w", {}, "ann", 2**53, expected=7))
        await awaits_an_event(app, "bulk-1")
    else:
        await awaits_an_event(app, "w-1")
    (version,) = re.findall(r'data-version="([^"]+)"', (await browser.get(page)).body.decode())
    same = Page(dashboard, f"/changes/instance?id={instance_id}&seen={version}")
    await same.answer.say(b"event: beat")
    assert b"event: changed" not in same.answer.body
    await same.leave()

    await app.terminate(instance_id)

    late = Page(dashboard, f"/changes/instance?id={instance_id}&seen={version}")
    await late.answer.say(b"event: changed")
    await late.leave()
    await dashboard.close()


async def test_what_changed_before_it_listened_is_heard_of(app: Romancy) -> None:
    dashboard = asgi(app, auth="local")
    page = Page(dashboard, "/changes/instances?seen=0123456789abcdef")

    await page.answer.say(b"event: changed")

    await page.leave()


async def test_a_hundred_pages_cost_less_than_a_query_a_second(app: Romancy, monkeypatch: pytest.MonkeyPatch) -> None:
    dashboard = asgi(app, auth="local")
    assert dashboard._live._every > 2  # seconds between two looks
    dashboard._live = OpenPages(every=0.2)
    asked: list[object] = []
    find = app._access.opened().services.reading.find

    async def counted(query: object) -> object:
        asked.append(query)
        return await find(query)  # type: ignore[arg-type] # as it came

    monkeypatch.setattr(app._access.opened().services.reading, "find", counted)
    pages = [Page(dashboard, "/changes/instances?status=waiting") for _ in range(100)]
    for page in pages:
        await page.answer.say(b"event: known")
    assert 100 == dashboard._live.pages
    looks = len(asked)

    await app.start(wait.options(instance_id="w-3"))
    for page in pages:
        await page.answer.say(b"event: changed")

    assert len(asked) - looks < 50  # a look is for all hundred
    for page in pages:
        await page.leave()
    assert 0 == dashboard._live.pages


async def test_a_question_that_fails_is_asked_again(app: Romancy) -> None:
    live, times = OpenPages(every=0.01), 0

    async def question() -> str:
        nonlocal times
        times += 1
        if times < 3:
            raise RuntimeError("away")
        return "back"

    stream = live._tell("key", question, None)
    told = [await anext(stream), await anext(stream)]

    assert b"id: back" in told[1]
    await stream.aclose()


async def test_a_stream_has_a_beat_while_the_database_answers(app: Romancy) -> None:
    live, away = OpenPages(every=0.01, beat=0.02), False

    async def question() -> str:
        if away:
            raise RuntimeError("away")
        return "same"

    stream = live._tell("key", question, None)
    told = [await anext(stream) for _ in range(4)]
    assert [b"event: beat\ndata:\n\n"] * 2 == told[2:]

    away = True
    await until(lambda: not live._topics["key"].answered)
    silent = asyncio.ensure_future(anext(stream))
    done, _ = await asyncio.wait([silent], timeout=0.2)
    assert not done

    away = False
    assert b"event: beat\ndata:\n\n" == await silent
    await stream.aclose()


async def test_a_stream_has_no_beat_while_a_look_hangs(app: Romancy) -> None:
    live, answer = OpenPages(every=0.01, beat=0.01, hangs=0.05), asyncio.Event()

    async def question() -> str:
        await answer.wait()
        return "same"

    stream = live._tell("key", question, "same")
    assert b"retry: 1000\n\n" == await anext(stream)
    beats, silent = 0, asyncio.ensure_future(anext(stream))
    while (await asyncio.wait([silent], timeout=0.2))[0]:
        beats, silent = beats + 1, asyncio.ensure_future(anext(stream))
        assert beats < 100

    answer.set()
    assert b"event: beat\ndata:\n\n" == await silent
    await stream.aclose()


async def test_streams_end_when_the_dashboard_closes(app: Romancy) -> None:
    dashboard = asgi(app, auth="local")
    page = Page(dashboard, "/changes/instances")
    await page.answer.say(b"event: known")

    await dashboard.close()
    await page.task

    assert app.is_open


async def test_a_stream_ends_by_itself(app: Romancy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("romancy.dashboard._live._LASTS", 0.05)
    page = Page(asgi(app, auth="local"), "/changes/instances")

    await page.task

    assert b"retry: 1000" in page.answer.body


async def test_too_many_pages_are_refused(app: Romancy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("romancy.dashboard._live._MOST", 0)

    assert 503 == (await Browser(asgi(app, auth="local")).get("/changes/instances")).status
