"""Rows that are chosen in a list, and what is done to exactly these."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest

from romancy import Romancy, WorkflowContext, workflow
from romancy.dashboard import Visitor, asgi
from romancy.errors import WorkflowCancelledError
from romancy.status import Status
from tests.dashboard.browsing import Browser
from tests.dashboard.jobs import begun, statuses

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from romancy.dashboard import Dashboard

pytestmark = pytest.mark.anyio

STRANGE = " a/b &c?=\"'<é "
OPEN = (Status.PENDING, Status.RUNNING, Status.WAITING)


@workflow
async def wait(ctx: WorkflowContext, city: str) -> Any:
    return (await ctx.wait_event("paid")).data


@pytest.fixture
async def app(storage_url: str) -> AsyncGenerator[Romancy]:
    async with Romancy(storage_url, workflows=[wait]) as app:
        for one in ("w-1", "w-10", "w-2", STRANGE):
            await app.start(wait.options(instance_id=one), "Paris")
        yield app


@pytest.fixture
async def dashboard(app: Romancy) -> AsyncGenerator[Dashboard]:
    dashboard = asgi(app, auth=lambda _request: "ann")
    yield dashboard
    await dashboard.close()


def chosen(*ids: str) -> str:
    return urlencode({"chosen": ids}, doseq=True)


async def test_only_the_chosen_ones_are_acted_on(app: Romancy, dashboard: Dashboard) -> None:
    browser = Browser(dashboard)
    page = f"/bulk/cancel?{chosen('w-1', STRANGE)}"
    shown = await browser.get(page)
    assert "Cancel 2 instances?" in browser.text(shown)
    assert "Chosen" in browser.text(shown)

    job = await begun(browser, page, {"reason": "closed"})

    assert 2 == (await app.handle(job).result())["done"]
    for one in ("w-1", STRANGE):
        with pytest.raises(WorkflowCancelledError):
            await app.handle(one).result(timeout=60)
    left = await statuses(app, "w-10", "w-2")
    assert all(one in OPEN for one in left), left
    told = await browser.get(f"/job?id={job}")
    (link,) = re.findall(r'href="/instances\?(chosen=[^"]+)">Show them', told.body.decode())
    listed = await browser.get(f"/instances?{link.replace('&amp;', '&')}")
    assert 2 == listed.body.decode().count('class="c-id"')


async def test_what_is_chosen_is_purged_whatever_its_end(app: Romancy, dashboard: Dashboard) -> None:
    browser = Browser(dashboard)
    await app.terminate("w-1")
    await app.signal("w-2", "paid", 5)
    assert 5 == await app.handle("w-2").result(timeout=60)

    job = await begun(browser, f"/bulk/purge?{chosen('w-1', 'w-2', 'w-10', 'gone')}")

    assert 2 == (await app.handle(job).result())["done"]
    assert [None, None] == await statuses(app, "w-1", "w-2")
    assert (await statuses(app, "w-10"))[0] in OPEN


async def test_a_list_offers_the_actions_that_its_visitor_may_do(app: Romancy) -> None:
    def buttons(page: Any) -> set[str]:
        return set(re.findall(r'formaction="/bulk/(\w+)"', page.body.decode()))

    dashboards = (
        asgi(app, auth=lambda _: "ann"),
        asgi(app, auth=lambda _: Visitor("bob", actions={"cancel"})),
        asgi(app, auth=lambda _: "ann", read_only=True),
    )
    everything, some, nothing = [await Browser(one).get("/instances") for one in dashboards]
    for one in dashboards:
        await one.close()

    assert {"signal", "cancel", "retry", "purge", "pause"} <= buttons(everything)
    assert 4 == everything.body.decode().count('name="chosen"')
    assert {"cancel"} == buttons(some)
    assert set() == buttons(nothing)
    assert 'name="chosen"' not in nothing.body.decode()


async def test_nothing_and_too_many_are_refused(dashboard: Dashboard) -> None:
    browser = Browser(dashboard)

    assert 400 == (await browser.get("/bulk/cancel?chosen=")).status
    assert 400 == (await browser.get("/bulk/cancel")).status
    too_many = await browser.get(f"/instances?{chosen(*(f'i-{number}' for number in range(1001)))}")
    assert 400 == too_many.status
    assert "chosen" in browser.text(too_many)
    assert 400 == (await browser.get(f"/bulk/cancel?{chosen('x' * 300)}")).status
