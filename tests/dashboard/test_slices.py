"""Searches of the list that no index answers: slice by slice, with the path to declare, and given up with the page."""

# What the pages cost is seen at the store.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import asyncio
import re
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from romancy import Romancy, WorkflowContext, workflow
from romancy.dashboard import asgi
from romancy.storage.services import Service
from romancy.storage.slices import find_in_slices
from romancy_conformance.changing import changed
from romancy_conformance.services import services_with
from tests.dashboard.browsing import Browser
from tests.dashboard.serving import serving

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from romancy.storage.protocol import Store
    from romancy.storage.query import Query
    from romancy.storage.records import Page
    from romancy.storage.slices import Found

pytestmark = pytest.mark.anyio


@workflow
async def order(ctx: WorkflowContext, city: str, total: int) -> None:
    await ctx.wait_event("paid")


@workflow(index=["city"])
async def trip(ctx: WorkflowContext, city: str, total: int) -> None:
    await ctx.wait_event("paid")


@pytest.fixture
async def app(storage_url: str) -> AsyncGenerator[Romancy]:
    async with Romancy(storage_url, workflows=[order, trip], worker=False) as app:
        for number in range(12):
            kind = trip if number % 2 else order
            await app.start(kind.options(instance_id=f"i-{number:02}"), "Graz" if number < 2 else "Oslo", number)
        yield app


async def test_a_search_goes_on_until_it_has_found_something(app: Romancy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each answer looked at one slice; the page fetches the next one as long as nothing was found."""
    services_with(Service.LOOKUPS, app._access.opened())
    sliced = partial(find_in_slices, within=0, first=4, largest=4)
    monkeypatch.setattr("romancy.dashboard._instances_page.find_in_slices", sliced)
    browser, target, seen, found = Browser(asgi(app, auth="local")), "/instances?where=city%3DGraz", 0, list[str]()
    while target:
        page = await browser.get(target)
        seen += 1
        html = page.body.decode()
        found += re.findall(r'href="/instances/(i-[^"]+)"><bdi>', html)
        assert 'index=["city"]' in html, "the path to declare"
        assert "without an index for it: order " in browser.text(page), "and where"
        following = re.search(r'hx-get="([^"]+)" hx-trigger="load"', html)
        assert ("data-live" in html) is ("has looked back" not in html), "what is not over does not look for news"
        target = following[1].replace("&amp;", "&") if following else ""

    assert (3, ["i-01", "i-00"]) == (seen, found)


async def test_a_whole_id_is_found_at_once(app: Romancy, monkeypatch: pytest.MonkeyPatch) -> None:
    sliced = partial(find_in_slices, within=0, first=1, largest=1)
    monkeypatch.setattr("romancy.dashboard._instances_page.find_in_slices", sliced)

    page = await Browser(asgi(app, auth="local")).get("/instances?id=i-00")

    assert ["i-00"] == re.findall(r'href="/instances/(i-[^"]+)"><bdi>', page.body.decode())


async def test_a_search_that_an_index_answers_names_no_path(app: Romancy) -> None:
    page = await Browser(asgi(app, auth="local")).get("/instances?where=city%3DGraz&workflow=trip")

    assert ["i-01"] == re.findall(r'href="/instances/(i-[^"]+)"><bdi>', page.body.decode())
    assert "No index" not in page.body.decode()
    assert "Declare" not in page.body.decode()


async def test_a_search_ends_with_its_request(app: Romancy, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, cancelled, left = asyncio.Event(), asyncio.Event(), asyncio.Event()

    find = app._access.opened().services.reading.find

    async def never(query: Query) -> Page:
        if not query.conditions:
            return await find(query)  # the looks for jobs of the dashboard and for sealed inputs
        begun.set()
        try:
            return await asyncio.Future()
        finally:
            cancelled.set()

    monkeypatch.setattr(app._access.opened().services.reading, "find", never)
    browser = Browser(asgi(app, auth="local"))
    request = asyncio.create_task(browser.client.ask("GET", "/instances?where=total%3D1", b"", [], left=left))
    await begun.wait()
    left.set()

    assert 400 == (await request).status
    assert cancelled.is_set()


class Watched:
    """A store that notes what is asked of it, and what of it is still being answered."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.asked = 0
        self.open = 0
        self.fifth = asyncio.Event()
        self.given_up = asyncio.Event()
        self.services = store.services.wrapped(reading=lambda reading: changed(reading, find=self._find))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def _find(self, query: Query) -> Page:
        if query.conditions:
            self.asked += 1
            if self.asked == 5:
                self.fifth.set()
        self.open += 1
        try:
            return await self._store.services.reading.find(query)
        finally:
            self.open -= 1

    async def search(self, store: Store, query: Query) -> Found:
        """The search of the page, an instance a slice and for as long as there is one."""
        try:
            return await find_in_slices(store, query, within=600, first=1, largest=1)
        except asyncio.CancelledError:
            self.given_up.set()
            raise


async def test_a_client_that_hangs_up_ends_its_search(app: Romancy, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real server and a real connection, cut while slices are searched. The database is asked nothing afterwards."""
    services_with(Service.LOOKUPS, app._access.opened())
    for number in range(300):  # each at a time of its own, as a slice ends between two times
        await app.start(order.options(instance_id=f"m-{number}"), "Wien", number)
    watched = Watched(app._access.opened())
    monkeypatch.setattr(app._access, "opened", lambda: watched)
    monkeypatch.setattr("romancy.dashboard._instances_page.find_in_slices", watched.search)
    dashboard = asgi(app, auth="local")
    async with serving(dashboard) as port:
        _, client = await asyncio.open_connection("127.0.0.1", port)
        client.write(f"GET /instances?where=city%3DGraz HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n".encode())
        await watched.fifth.wait()
        client.close()
        await watched.given_up.wait()
        await dashboard._jobs.looked()
        asked = watched.asked

        other, again = await asyncio.open_connection("127.0.0.1", port)
        again.write(f"GET /instances?id=i-00 HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n".encode())
        page = await other.read()
        again.close()

    assert b"/instances/i-00" in page
    assert 5 <= asked == watched.asked < 300
    assert 0 == watched.open
