"""Requests that no worker has taken, on each database: pages and HTTP tell them, and pages do not offer them again."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from romancy import Romancy, Status, WorkflowContext, workflow
from romancy.dashboard import asgi
from romancy.http import asgi as http
from romancy_conformance.behaviour.waiting import status_is
from tests.dashboard.browsing import Browser
from tests.http.client import Client

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

pytestmark = pytest.mark.anyio

NOBODY = "no worker has taken it: none is alive"


@workflow
async def order(ctx: WorkflowContext) -> None:
    await ctx.wait_event("paid", key="k-1")


@pytest.fixture
async def app(storage_url: str) -> AsyncGenerator[Romancy]:
    """An app that runs nothing, and an instance `o-1` that waits, without a worker."""
    async with Romancy(storage_url, workflows=[order], worker=False) as app:
        async with Romancy(storage_url, workflows=[order]) as worker:
            await worker.start(order.options(instance_id="o-1"))
            await status_is(worker, "o-1", Status.WAITING)
        yield app


@pytest.fixture
async def browser(app: Romancy) -> AsyncGenerator[Browser]:
    dashboard = asgi(app, auth="local")
    yield Browser(dashboard)
    await dashboard.close()


def offered(page: str) -> set[str]:
    return set(re.findall(r'href="/act/(\w+)/', page))


async def test_the_page_tells_a_cancel_and_does_not_offer_it_again(app: Romancy, browser: Browser) -> None:
    before = (await browser.get("/instances/o-1")).body.decode()
    answer = await browser.submit("/act/cancel/o-1", {"reason": "sold out"})
    shown = await browser.get("/instances/o-1")
    again = await browser.get("/act/cancel/o-1")

    assert 303 == answer.status
    assert f"(sold out); {NOBODY}" in browser.text(shown)
    assert offered(before) - offered(shown.body.decode()) == {"cancel"}
    assert "This was requested at " in browser.text(again)
    assert "<form" not in again.body.decode().partition("<main")[2]


async def test_a_second_cancel_is_not_sent(app: Romancy, browser: Browser) -> None:
    token = await browser.token("/act/cancel/o-1")

    first = await browser.post("/act/cancel/o-1", {"csrf": token})
    second = await browser.post("/act/cancel/o-1", {"csrf": token})

    found = await app.get_instance("o-1", waits=True)
    assert (303, 409) == (first.status, second.status)
    assert found is not None
    assert 1 == len(found.untaken or ())


async def test_the_page_tells_an_event_that_fits_no_wait(app: Romancy, browser: Browser) -> None:
    await app.signal("o-1", "payed", {"card": "4711"}, key="k-1")
    shown = await browser.get("/instances/o-1")

    expected = "It waits for 'paid' with the key 'k-1'; it has been sent 'payed' with the key 'k-1' ("
    assert expected in browser.text(shown)
    assert "4711" not in browser.text(shown)
    assert "signal" in offered(shown.body.decode())


async def test_http_tells_what_was_requested(app: Romancy) -> None:
    client = Client(http(app, auth="local"))

    cancelled = await client.post("/cancel/o-1", b'{"reason": "sold out"}')
    await app.signal("o-1", "payed", "secret", id="s-1")
    shown = (await client.get("/instances/o-1")).json

    assert {"status": "waiting", "instance_id": "o-1", "cancel": "requested"} == cancelled.json
    told = [(one["kind"], one["name"], one["id"]) for one in shown["untaken"]]
    assert [("cancel", "sold out", ""), ("signal", "payed", "s-1")] == told
    assert "secret" not in str(shown)


async def test_a_job_tells_that_nobody_takes_what_it_requested(app: Romancy, browser: Browser) -> None:
    page = "/bulk/cancel?workflow=order"
    hidden = re.findall(r'type="hidden" name="([a-z]+)" value="([^"]*)"', (await browser.get(page)).body.decode())
    begun = await browser.post(page, dict(hidden))
    job = begun.headers["location"]
    await app.handle(job.partition("?id=")[2]).result(timeout=60)

    shown = browser.text(await browser.get(job))

    assert "Cancel requested 1" in shown
    assert "no worker has taken 1 request yet: none is alive" in shown
    assert NOBODY in browser.text(await browser.get("/instances/o-1"))  # the job's own worker does not count
