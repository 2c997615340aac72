"""The times of an instance's page on each database: from one zero, the commit of the start, and by one clock."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from romancy import Romancy, WorkflowContext, activity, workflow
from romancy._microseconds import at_of
from romancy.dashboard import asgi
from tests.dashboard.browsing import Browser

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

pytestmark = pytest.mark.anyio


@activity
async def first(item: str) -> str:
    return item


@activity
async def second(item: str) -> str:
    return item


@workflow
async def paid(ctx: WorkflowContext, item: str) -> str:
    await ctx.wait_event("paid")
    return await second(await first(item))


@pytest.fixture
async def app(storage_url: str) -> AsyncGenerator[Romancy]:
    async with Romancy(storage_url, workflows=[paid], worker=False) as app:
        handle = await app.start(paid.options(instance_id="late"), "lamp")
        await handle.signal("paid")
        async with app_with_worker(storage_url) as worker:
            assert "lamp" == await worker.handle("late", paid).result(timeout=60)
        yield app


def app_with_worker(url: str) -> Romancy:
    return Romancy(url, workflows=[paid])


def cells(page: str) -> dict[str, str]:
    """When each step began, by the table."""
    found = re.findall(r'<span class="step-name"><bdi>(.*?)</bdi>.*?<td class="c-time">(.*?)</td>', page, re.DOTALL)
    return dict(found)


def logged(page: str) -> list[tuple[str, str]]:
    """The events of the log view: kind and time since the start."""
    rows = re.findall(r'<td class="c-time" title="[^"]*">([^<]*)</td>\s*<td>(.*?)</td>', page, re.DOTALL)
    return [(kind[0], at) for at, text in rows if (kind := re.findall(r"[A-Z][A-Za-z]+", text))]


async def test_table_and_log_count_from_one_zero(app: Romancy) -> None:
    browser = Browser(asgi(app, auth="local"))

    page = (await browser.get("/instances/late")).body.decode()
    log = logged((await browser.get("/instances/late?view=log")).body.decode())

    scheduled = [at for kind, at in log if kind == "ActivityScheduled"]
    assert scheduled == [cells(page)["first:1"], cells(page)["second:1"]]


async def test_what_no_worker_started_does_not_begin_in_1970(app: Romancy) -> None:
    browser = Browser(asgi(app, auth="local"))

    for view in ("timeline", "graph", "log", "state&at=1.0", "state&at=latest"):
        page = (await browser.get(f"/instances/late?view={view}")).body.decode()
        assert not re.search(r"\b1970-|\d d \d+ h", page), view


async def test_pages_and_entries_agree(app: Romancy) -> None:
    entries = [entry async for entry in app.entries_of("late")]

    browser = Browser(asgi(app, auth="local"))
    raw = (await browser.get("/instances/late?view=raw&at=1.0")).body.decode()

    assert getattr(entries[0].event, "at", 0) == at_of(entries[0].at)
    assert entries[0].at.strftime("%Y-%m-%dT%H:%M:%S") in raw
