"""Pauses by name in the dashboard, on every database: what the overview shows, what they do, and for whom."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from romancy import Romancy, Status, WorkflowContext, workflow
from romancy.dashboard import Visitor, asgi
from romancy_conformance.behaviour.waiting import status_is, until
from tests.dashboard.browsing import Browser

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

pytestmark = pytest.mark.anyio

LOG = "romancy.dashboard.audit"
MARKUP = "<script>alert(1)</script>"


@workflow
async def order(ctx: WorkflowContext) -> str:
    return "done"


@pytest.fixture
async def app(storage_url: str) -> AsyncGenerator[Romancy]:
    async with Romancy(storage_url, workflows=[order]) as app:
        yield app


async def test_names_are_paused_shown_and_unpaused(app: Romancy, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, LOG)
    browser = Browser(asgi(app, auth="local"))
    assert "No workflow and no activity is paused by its name." in browser.text(await browser.get("/"))
    assert '<option value="order">' in (await browser.get("/by-name/pause/workflow")).body.decode()

    for kind, name in (("workflow", "order"), ("activity", MARKUP)):
        done = await browser.submit(f"/by-name/pause/{kind}", {"name": name, "reason": "the shop is closed"})
        assert (303, f"/?done=pause-{kind}") == (done.status, done.headers["location"])
    page = await browser.get("/?done=pause-workflow")
    text = browser.text(page)
    assert "Starts of the workflow wait until it is unpaused." in text
    assert "Starts of workflow order " in text
    assert text.count("the shop is closed Unpause") == 2
    assert MARKUP not in page.body.decode()
    again = await browser.submit("/by-name/pause/workflow", {"name": "order", "reason": ""})
    assert (409, True) == (again.status, "paused already because the shop is closed" in browser.text(again))

    worker = app._access.worker  # pyright: ignore[reportPrivateUsage] - nothing outside tells it
    assert worker is not None
    await until(lambda: "order" in worker.held.workflows)
    instance = await app.start(order.options(instance_id="waits"))
    await status_is(app, "waits", Status.PAUSED)
    assert "its workflow is paused: the shop is closed" in browser.text(await browser.get("/instances/waits"))
    for kind, name in (("workflow", "order"), ("activity", "%3Cscript%3Ealert%281%29%3C%2Fscript%3E")):
        done = await browser.submit(f"/by-name/unpause/{kind}?name={name}", {})
        assert (303, f"/?done=unpause-{kind}") == (done.status, done.headers["location"])
    assert await instance.result(timeout=60) == "done"
    assert [] == [*await app.paused_activities(), *await app.paused_workflows()]
    assert "pause workflow 'order': done" in caplog.text
    assert "pause workflow 'order': refused (UsageError)" in caplog.text


async def test_only_those_who_may_are_offered_it(app: Romancy) -> None:
    await app.pause_workflow("order", reason="closed")
    clerk = Browser(asgi(app, auth=lambda _: Visitor("ann", actions={"pause"})))
    reader = Browser(asgi(app, auth="local", read_only=True))

    shown = (await clerk.get("/")).body.decode()
    assert ("/by-name/pause/activity" in shown, "/by-name/unpause/" in shown) == (True, False)
    shown = (await reader.get("/")).body.decode()
    assert ("/by-name/" in shown, "closed" in shown) == (False, True)
    assert 403 == (await clerk.get("/by-name/unpause/workflow?name=order")).status
    assert 403 == (await reader.get("/by-name/unpause/workflow?name=order")).status
    for wrong, status in (("/by-name/stop/workflow", 404), ("/by-name/pause/shop", 404)):
        assert status == (await Browser(asgi(app, auth="local")).get(wrong)).status
    nobody = Browser(asgi(app, auth="local"))
    assert 400 == (await nobody.submit("/by-name/pause/activity", {"name": ""})).status
    assert 409 == (await nobody.submit("/by-name/unpause/activity?name=x", {})).status


async def test_a_worker_is_asked_to_drain(storage_url: str) -> None:
    async with Romancy(storage_url, workflows=[order], worker_id="w 1") as app:
        chief = Browser(asgi(app, auth=lambda _: Visitor("ann", actions={"workers"})))
        clerk = Browser(asgi(app, auth=lambda _: Visitor("bob", actions={"pause"})))

        assert "/by-name/drain/worker?name=w%201" in (await chief.get("/")).body.decode()
        assert "/by-name/drain/" not in (await clerk.get("/")).body.decode()
        assert 403 == (await clerk.get("/by-name/drain/worker?name=w%201")).status
        missing = await chief.submit("/by-name/drain/worker?name=x", {})
        assert (409, True) == (missing.status, "no worker 'x' is registered" in chief.text(missing))
        done = await chief.submit("/by-name/drain/worker?name=w%201", {})
        assert (303, "/?done=drain-worker") == (done.status, done.headers["location"])
        await until(lambda: app.is_draining)

        async def is_shown() -> bool:
            return "drained" in chief.text(await chief.get("/"))

        await until(is_shown)
