"""The box for everything: an id leads to its page; else the page shows ids, inputs and errors that have the text."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from romancy import Romancy, TerminalError, WorkflowContext, activity, workflow
from romancy.dashboard import Visitor, asgi
from romancy.errors import WorkflowFailedError
from romancy.storage.slices import find_in_slices
from romancy_conformance.behaviour.coded import Masking
from tests.dashboard.browsing import Browser

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from romancy.dashboard import Dashboard

pytestmark = pytest.mark.anyio

NO_INPUTS = "Inputs were not searched"


@activity
async def charge(customer: str) -> str:
    if customer.startswith("bad"):
        raise TerminalError(f"card of {customer} declined by bank 4711")
    return "charged"


@workflow(index=["customer"])
async def place_order(ctx: WorkflowContext, customer: str, total: int, note: dict[str, Any] | None = None) -> str:
    return await charge(customer)


@pytest.fixture
async def app(storage_url: str) -> AsyncGenerator[Romancy]:
    async with Romancy(storage_url, workflows=[place_order]) as app:
        yield app


@pytest.fixture
async def dashboard(app: Romancy) -> AsyncGenerator[Dashboard]:
    dashboard = asgi(app, auth=lambda _request: "ann")
    yield dashboard
    await dashboard.close()


async def ordered(
    app: Romancy, instance_id: str, customer: str, total: int, note: dict[str, Any] | None = None
) -> None:
    handle = await app.start(place_order.options(instance_id=instance_id), customer, total, note)
    if customer.startswith("bad"):
        with pytest.raises(WorkflowFailedError):
            await handle.result(timeout=60)
    else:
        await handle.result(timeout=60)


async def found(browser: Browser, text: str) -> dict[str, list[str]]:
    """The ids that the page of this text shows, by the headings of its lists."""
    page = await browser.get(f"/search?q={quote(text)}")
    assert 200 == page.status, browser.text(page)
    parts = page.body.decode().split("<section>")[1:]
    return {
        re.sub(r"<[^>]+>", "", part.partition("</h2>")[0]).strip(): re.findall(r'"/instances/([^"]+)"><bdi>', part)
        for part in parts
    }


async def test_a_whole_id_leads_to_its_page(app: Romancy, dashboard: Dashboard) -> None:
    browser = Browser(dashboard)
    await ordered(app, "a/b c?", "ann", 5)

    answer = await browser.get(f"/search?q={quote(' a/b c? ')}")

    assert (303, "/instances/a%2Fb%20c%3F") == (answer.status, answer.headers["location"])
    assert 200 == (await browser.get(answer.headers["location"])).status


async def test_a_text_is_found_in_ids_inputs_and_errors(app: Romancy, dashboard: Dashboard) -> None:
    browser = Browser(dashboard)
    await ordered(app, "order-4711-a", "ann", 5, {"city": "Oslo", "4711": 1})
    await ordered(app, "b", "4711", 5)
    await ordered(app, "c", "ann", 4711, {"city": "Paris"})
    await ordered(app, "d", "bad ann", 5)

    assert await found(browser, "4711") == {
        "In the id": ["order-4711-a"],
        "In the input, at customer": ["b"],
        "In the input, at total": ["c"],
        "In the error": ["d"],
    }
    assert await found(browser, "Oslo") == {"In the input, at note.city": ["order-4711-a"]}
    assert await found(browser, "ORDER-4711") == {"In the id": ["order-4711-a"]}
    assert await found(browser, "declined by bank") == {"In the error": ["d"]}
    assert await found(browser, "Osl") == {}
    shown = browser.text(await browser.get("/search?q=Osl"))
    assert "Nothing was found" in shown
    assert NO_INPUTS not in shown


async def test_a_list_goes_on_in_the_search_of_its_kind(app: Romancy, dashboard: Dashboard) -> None:
    browser = Browser(dashboard)
    for number in range(12):
        await ordered(app, f"o-{number:02}", "ann", number)

    page = await browser.get("/search?q=ann")

    assert len((await found(browser, "ann"))["In the input, at customer"]) == 10
    assert "All of them, to act on them" in browser.text(page)
    (link,) = re.findall(r'href="(/instances\?where=[^"]+)"', page.body.decode())
    assert "o-00" in (await browser.get(link)).body.decode()


@pytest.mark.parametrize(
    "text", ["", "   ", "%", "_", "'; drop", "<b>", '"', "\\", "\x00", "a" * 1001, "💥" * 80, "=", "*"]
)
async def test_strange_texts_are_answered(dashboard: Dashboard, text: str) -> None:
    browser = Browser(dashboard)

    page = await browser.get(f"/search?q={quote(text)}")

    assert page.status in (200, 400), browser.text(page)
    assert "<b>" not in page.body.decode()


async def test_many_paths_are_bounded(app: Romancy, dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch) -> None:
    await ordered(app, "wide", "ann", 5, {f"field {number:03}": "x" for number in range(300)})
    asked: list[str] = []

    async def counted(store: Any, query: Any, **options: Any) -> Any:
        asked.append(str(query))
        return await find_in_slices(store, query, **options)

    monkeypatch.setattr("romancy.dashboard._search_box.find_in_slices", counted)
    await found(Browser(dashboard), "x")

    assert len(asked) == 18


async def test_sealed_inputs_are_not_searched(storage_url: str) -> None:
    """Finding one would reveal its value."""
    async with Romancy(storage_url, workflows=[place_order], codecs=[Masking()]) as app:
        await ordered(app, "a", "ann", 5)
        sees = asgi(app, auth=lambda _: "ann")
        sees_not = asgi(app, auth=lambda _: Visitor("bob", payloads=False))
        without_codec = asgi(storage_url, auth=lambda _: "ann")

        assert await found(Browser(sees), "ann") == {"In the input, at customer": ["a"]}
        for browser in (Browser(sees_not), Browser(without_codec)):
            assert await found(browser, "ann") == {}
            assert NO_INPUTS in browser.text(await browser.get("/search?q=ann"))
        for dashboard in (sees, sees_not, without_codec):
            await dashboard.close()
