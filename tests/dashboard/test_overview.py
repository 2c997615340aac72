"""The overview on every database: counts, instances that need attention, workers and messages."""

# What the pages cost is seen at the store.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import pytest

from romancy import Romancy, Status, TerminalError, WorkflowContext, workflow
from romancy.dashboard import asgi
from romancy.errors import WorkflowFailedError
from romancy.storage.backends import create_store
from romancy.storage.passing import changed_by
from romancy.storage.records import Worker
from romancy_conformance.behaviour.waiting import status_is
from romancy_conformance.changing import changed
from tests.dashboard.browsing import Browser
from tests.dashboard.counting import CountingStore

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from romancy.storage.query import Query
    from romancy.storage.records import Page

pytestmark = pytest.mark.anyio


@workflow
async def fail(ctx: WorkflowContext, number: int) -> str:
    raise TerminalError(f"card {number} was declined")


@workflow
async def wait(ctx: WorkflowContext) -> str:
    return (await ctx.wait_event("go", key="k")).type


@pytest.fixture
async def app(storage_url: str) -> AsyncGenerator[Romancy]:
    async with Romancy(storage_url, workflows=[fail, wait], worker_id="worker-of-the-test") as app:
        yield app


async def test_an_empty_database_has_an_overview(app: Romancy) -> None:
    browser = Browser(asgi(app, auth="local"))

    page = await browser.get("/")
    text = browser.text(page)

    assert 200 == page.status
    assert "No instance is stuck, and none has failed." in text
    assert "There is no instance yet." in text
    assert "worker-of-the-test" in text
    assert "alive" in text


async def test_it_counts_and_names_what_needs_somebody(app: Romancy) -> None:
    for number in range(7):
        handle = await app.start(fail.options(instance_id=f"f-{number}"), number)
        with pytest.raises(WorkflowFailedError):
            await handle.result()
    await app.start(wait.options(instance_id="w-1"))
    await app.send("gone", {"a": 1}, key="nobody")
    browser = Browser(asgi(app, auth="local"))

    text = browser.text(await browser.get("/"))

    assert "failed 7" in text
    assert "7 100.0 % 7 failed" in text
    assert "card 6 was declined" in text
    assert "card 2 was declined" in text
    assert "card 1 was declined" not in text  # the newest five are shown
    assert "Undelivered events and messages 1" in text


async def test_it_shows_what_is_open_by_workflow(app: Romancy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the age of the oldest, which is exact even if not all are counted."""
    for number in range(3):
        await app.start(wait.options(instance_id=f"w-{number}"))
        await status_is(app, f"w-{number}", Status.WAITING)
    with pytest.raises(WorkflowFailedError):
        await app.run(fail, 1)
    browser = Browser(asgi(app, auth="local"))

    page = await browser.get("/")
    whole = browser.text(page)
    monkeypatch.setattr("romancy.dashboard._overview_page.OLDEST", 2)
    part = browser.text(await browser.get("/"))

    line = r"\bwait 3 open \+3 in an hour 0 wait for a worker oldest .* 0 ended/min 0 failed/min 3 waiting"
    assert re.search(rf"Open, by workflow .*{line}", whole), whole
    assert re.search(r"3 waiting fail 0 open 0 in an hour 0 wait for a worker oldest – .* failed/min –", whole), whole
    assert 'aria-label="0 open at first, 3 now, 3 at most"' in page.body.decode()
    assert "may be higher" not in whole
    assert re.search(r"Open, by workflow .*\bwait 2\+ open – in an hour 0\+ wait for a worker .* 2 waiting", part), part
    assert "The newest 2 begins and ends are counted: those since" in part
    assert "Of a status, the oldest 2 are counted" in part


async def test_it_shows_what_was_started_over_time(app: Romancy) -> None:
    await app.start(wait.options(instance_id="w-1"))
    with pytest.raises(WorkflowFailedError):
        await app.run(fail, 1)
    await status_is(app, "w-1", Status.WAITING)
    browser = Browser(asgi(app, auth="local"))

    day = await browser.get("/")
    week = browser.text(await browser.get("/?over=7d"))

    assert "Started in the last 24 hours" in browser.text(day)
    assert {"b-failed", "b-waiting"} <= set(re.findall(r'<rect class="([^"]+)" x="230"', day.body.decode()))
    assert re.search(r"2 100\.0 % 1 failed, 1 waiting", week), week
    assert 'aria-label="1 started in the last 24 hours, 1 of them failed or stuck"' in day.body.decode()
    assert 400 == (await browser.get("/?over=2y")).status


async def test_it_takes_a_bounded_number_of_calls(app: Romancy, monkeypatch: pytest.MonkeyPatch) -> None:
    counting = changed_by(app._access.opened(), CountingStore)
    calls = counting.calls

    def opened(*_: object) -> object:
        return counting

    monkeypatch.setattr(app._access, "opened", opened)
    with pytest.raises(WorkflowFailedError):
        await app.run(fail, 1)
    dashboard = asgi(app, auth="local")
    browser = Browser(dashboard)
    await browser.get("/jobs")
    await dashboard._jobs.looked()  # the first page of all has a job looked for that is open
    calls.clear()

    assert 200 == (await browser.get("/")).status

    once = {
        "census", "tally", "newest", "open_work", "pace", "trend", "loads", "find", "kept", "counts", "failures",
        "interests",
    }  # fmt: skip
    assert once == set(calls)
    assert len(once) == len(calls)


async def test_htmx_gets_the_changing_part_alone(app: Romancy) -> None:
    part = await Browser(asgi(app, auth="local")).get("/", hx_request="true")

    assert part.body.decode().strip().startswith('<div id="overview"')


async def test_no_page_waits_for_the_look_for_jobs(app: Romancy, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database answers that look only once the page is there."""
    shown, looked, store = asyncio.Event(), list[str](), app._access.opened()

    async def find(query: Query) -> Page:
        if query.workflow_name is not None:
            await shown.wait()
            looked.append(query.workflow_name)
        return await store.services.reading.find(query)

    slow = changed(store, services=store.services.wrapped(reading=lambda reading: changed(reading, find=find)))

    def opened(*_: object) -> object:
        return slow

    monkeypatch.setattr(app._access, "opened", opened)
    dashboard = asgi(app, auth="local")

    page = await Browser(dashboard).get("/")
    before = list(looked)
    shown.set()
    await dashboard._jobs.looked()

    assert (200, []) == (page.status, before)
    assert ["romancy.dashboard.bulk"] == looked


async def test_suspects_are_counted(app: Romancy, storage_url: str) -> None:
    """As the rows of living workers tell, and a page that is open sees them come and go."""
    store = create_store(storage_url)
    await store.open()
    try:
        mine = Worker(token="other", worker_id="other", lease=600_000_000, codes=("c", "suspects=7", "tried=order-1"))
        browser = Browser(asgi(app, auth="local"))
        before = await browser.get("/")
        await store.heartbeat(mine)
        page = await browser.get("/")
        await store.leave(mine)
        after = await browser.get("/")
    finally:
        await store.close()

    assert "7 instances are suspected of ending workers" in browser.text(page)
    assert "now order-1" in browser.text(page)
    assert "suspected" not in browser.text(before) + browser.text(after)
