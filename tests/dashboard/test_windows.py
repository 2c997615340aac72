"""The page of an instance that is a window: whose calls it has, until when, and what it has started."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from romancy import Codecs, Romancy, WorkflowContext, workflow
from romancy.dashboard import Visitor, asgi
from romancy.dashboard.windows import _pages
from romancy_conformance.behaviour.coded import Masking
from tests.dashboard.browsing import Browser

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from starlette.requests import Request

pytestmark = pytest.mark.anyio

LIMIT = 30
MARKUP = "<script>alert(1)</script>\u202e"


@workflow
async def reindex(ctx: WorkflowContext, document: str) -> str:
    return document


@workflow
async def store(ctx: WorkflowContext, rows: list[str]) -> int:
    return len(rows)


@pytest.fixture
async def app(storage_url: str) -> AsyncGenerator[Romancy]:
    async with Romancy(storage_url, workflows=[reindex, store]) as app:
        yield app


async def test_a_window_says_what_it_is(app: Romancy) -> None:
    browser = Browser(asgi(app, auth="local"))
    handle, *_ = [await app.batch(store, f"row {number}", "rows", size=2, within=3600) for number in range(5)]
    await app.report(handle.instance_id, wait=lambda told: told.get("started") == 2, timeout=LIMIT)
    (first, second) = (await app.report(handle.instance_id))["starts"]

    page = await browser.get("/instances/batch:store:rows")
    text = " ".join(browser.text(page).split())

    assert "Window of a batch Starts store Key rows Calls 1 Since" in text
    assert "if no further call comes Started 2 The last 2 starts At Calls Instance" in text
    assert text.index(second["instance_id"]) < text.index(first["instance_id"])
    for view in ("graph", "family", "state", "log"):
        assert "Window of a batch" in browser.text(await browser.get(f"/instances/batch:store:rows?view={view}"))


async def test_a_window_without_calls_and_one_that_is_over(app: Romancy) -> None:
    browser = Browser(asgi(app, auth="local"))
    handle = await app.debounce(reindex.bind("d"), MARKUP, wait=3600)
    await app.report(handle.instance_id, wait=lambda told: told.get("since"), timeout=LIMIT)
    page = f"/instances/{quote(handle.instance_id)}"
    shown = await browser.get(page)
    assert "Window of debounced calls" in browser.text(shown)
    assert "<script>alert" not in shown.body.decode()
    assert "\u202e" not in shown.body.decode()
    await handle.flush()
    await app.report(handle.instance_id, wait=lambda told: told.get("started"), timeout=LIMIT)
    assert "Calls none; the next one opens it Started 1" in " ".join(browser.text(await browser.get(page)).split())
    await app.terminate(handle.instance_id)
    assert "Calls none Started 1" in " ".join(browser.text(await browser.get(page)).split())


async def test_the_list_has_all_open_windows(app: Romancy, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = Browser(asgi(app, auth="local"))
    assert "There is no window." in browser.text(await browser.get("/windows"))
    for key in ("a", MARKUP):
        handle = await app.debounce(reindex.bind("d"), key, wait=3600)
        await app.report(handle.instance_id, wait=lambda told: told.get("since"), timeout=LIMIT)
    await app.batch(store, "row", "", size=2, within=3600)

    page = await browser.get("/windows")
    text = " ".join(browser.text(page).split())

    assert "<script>alert" not in page.body.decode()
    assert "batch:store: a batch store the empty text 1 calls since" in text
    assert "debounce:reindex:a debounced calls reindex a 1 calls since" in text
    assert 'href="/instances/debounce%3Areindex%3Aa"' in page.body.decode()
    part = (await browser.get("/windows", hx_request="true")).body.decode()
    assert ("<html" in part, 'id="list"' in part) == (False, True)
    monkeypatch.setattr(_pages, "_EACH", 2)
    first = (await browser.get("/windows")).body.decode()
    (older,) = re.findall(r'href="/windows\?page=([^"]+)"', first)
    second = browser.text(await browser.get(f"/windows?page={older}"))
    assert ("debounce:reindex:a" in first, "debounce:reindex:a" in second) == (False, True)


async def test_another_instance_is_no_window(app: Romancy) -> None:
    await app.run(reindex.options(instance_id="debounce:reindex:a"), "d")
    browser = Browser(asgi(app, auth="local"))
    assert "Window of" not in browser.text(await browser.get("/instances/debounce:reindex:a"))


async def test_a_sealed_window_stays_sealed(storage_url: str) -> None:
    def blind(request: Request) -> Visitor:
        return Visitor("ann", payloads=False)

    async with Romancy(storage_url, workflows=[reindex], codecs=Codecs(Masking())) as app:
        handle = await app.debounce(reindex.bind("secret"), "k", wait=3600)
        await app.report(handle.instance_id, wait=lambda told: told.get("since"), timeout=LIMIT)
        listed = Browser(asgi(app, auth=blind))
        assert "debounce:reindex:k sealed" in " ".join(listed.text(await listed.get("/windows")).split())
        sealed = await Browser(asgi(app, auth=blind)).get("/instances/debounce:reindex:k")
        assert sealed.status == 200
        assert "secret" not in sealed.body.decode()
        seeing = Browser(asgi(app, auth="local"))
        assert "Window of debounced calls" in seeing.text(await seeing.get("/instances/debounce:reindex:k"))
