"""The list of instances on every database: what a search finds, how pages follow each other, and what it costs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from romancy import Romancy, WorkflowContext, workflow
from romancy.dashboard import asgi
from tests.dashboard.browsing import Browser

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

pytestmark = pytest.mark.anyio


@workflow
async def place_order(ctx: WorkflowContext, customer: dict[str, str], total: float, *, paid: bool) -> str:
    if not paid:
        await ctx.wait_event("paid")
    return "shipped"


@workflow
async def greet(ctx: WorkflowContext, name: str) -> str:
    return f"Hello {name}"


@workflow
async def greets(ctx: WorkflowContext, count: int) -> None:
    for number in range(count):
        await greet.options(instance_id=f"{ctx.instance_id}-{number}")("Ann")


@pytest.fixture
async def app(storage_url: str) -> AsyncGenerator[Romancy]:
    async with Romancy(storage_url, workflows=[place_order, greet, greets]) as app:
        for number, city in enumerate(("Oslo", "Paris", "Paris", "Graz")):
            order = place_order.options(instance_id=f"order-{number}")
            await app.start(order, {"name": "Ann", "city": city}, number * 50.0, paid=number != 2)
        for number in range(4):
            headers = {"tenant": f"t={number % 2}"}
            await app.start(greet.options(instance_id=f"greeting-{number}", headers=headers), "Ann")
        for number in (0, 1, 3):
            await app.handle(f"order-{number}").result()
        for number in range(4):
            await app.handle(f"greeting-{number}").result()
        yield app


def shown(page: Any) -> list[str]:
    """The ids in a list, in order."""
    return re.findall(r'href="/instances/([^"]+)"><bdi>', page.body.decode())


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("", [*(f"greeting-{n}" for n in (3, 2, 1, 0)), *(f"order-{n}" for n in (3, 2, 1, 0))]),
        ("id=order", ["order-3", "order-2", "order-1", "order-0"]),
        ("workflow=greet&id=-2", ["greeting-2"]),
        ("workflow=place&status=completed", ["order-3", "order-1", "order-0"]),
        ("status=failed&status=waiting", ["order-2"]),
        ("where=" + quote("customer.city=Paris"), ["order-2", "order-1"]),
        ("where=" + quote("customer.city=Paris") + "&where=" + quote("total<100"), ["order-1"]),
        ("where=" + quote("total>=50") + "&where=" + quote("total<=100"), ["order-2", "order-1"]),
        ("where=" + quote("customer.name^=An") + "&where=" + quote("paid=false"), ["order-2"]),
        ("header=tenant%3Dt%3D1&status=completed", ["greeting-3", "greeting-1"]),
        ("header=tenant%3Dt%3D1&id=-1", ["greeting-1"]),
        ("header=tenant%3Dt", []),
        ("until=2020-01-01T00:00", []),
        ("until=9999-12-31T23:59:59.999999&id=order-0", ["order-0"]),
        ("since=2020-01-01T00:00&until=2200-01-01T00:00:00&id=order-0", ["order-0"]),
        ("within=1h&id=order-1", ["order-1"]),
        ("id=nothing", []),
        ("status=&where=&workflow=%20&unknown=5&id=order-0", ["order-0"]),
    ],
)
async def test_a_search_is_in_the_url(app: Romancy, search: str, found: list[str]) -> None:
    page = await Browser(asgi(app, auth="local")).get(f"/instances?{search}")

    assert (200, found) == (page.status, shown(page))


async def test_the_children_of_an_instance_are_listed(app: Romancy) -> None:
    await app.run(greets.options(instance_id="trunk/é"), 2)
    browser, target = Browser(asgi(app, auth="local")), quote("trunk/é")

    assert ["trunk%2F%C3%A9-1", "trunk%2F%C3%A9-0"] == shown(await browser.get(f"/instances?parent={target}"))
    assert ["trunk%2F%C3%A9-0"] == shown(await browser.get(f"/instances?parent={target}&id=-0&status=completed"))
    assert [] == shown(await browser.get("/instances?parent=trunk"))
    asked = browser.text(await browser.get(f"/bulk/purge?parent={target}"))
    assert ("Child of" in asked, "2 instances" in asked) == (True, True), asked


async def test_pages_follow_each_other_and_keep_the_search(app: Romancy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("romancy.dashboard._instances_page._EACH", 3)
    browser, target, pages = Browser(asgi(app, auth="local")), "/instances?status=completed", list[list[str]]()
    while True:
        page = await browser.get(target)
        pages.append(shown(page))
        older = re.search(r'rel="next" href="(\?[^"]+)"', page.body.decode())
        if older is None:
            break
        target = "/instances" + older[1].replace("&amp;", "&")

    assert [
        ["greeting-3", "greeting-2", "greeting-1"],
        ["greeting-0", "order-3", "order-1"],
        ["order-0"],
    ] == pages
    assert "status=completed" in target
    other = target.replace("completed", "waiting")
    assert 400 == (await browser.get(other)).status
    assert "belongs to another query" in browser.text(await browser.get(other))


@pytest.mark.parametrize(
    ("search", "words"),
    [
        ("status=nonsense", "there is none of the name"),
        ("where=total", "give a path, one of"),
        ("where=" + quote("total==5"), "there is no ==; write ="),
        ("where=" + quote("total=[1]"), "no single value"),
        ("where=" + quote("a=" + "[" * 100_000), ""),
        ("since=yesterday", "write a time in UTC"),
        ("until=9999-99-99", "write a time in UTC"),
        ("within=2y", "one of 15m"),
        ("page=abc", "page: damaged"),
        ("header=tenant", "'tenant': give the name of a header and its value"),
        ("header=baggage%3D1", "header: header 'baggage': headers of traces are not searched"),
        ("where=" + quote("a..b=1"), "input: path 'a..b', position 2"),
        ("workflow=%00", "workflow: holds a NUL"),
        ("&".join(f"header=a{n}%3D1" for n in range(30)), "at most 20"),
        ("id=%00", "id: holds a NUL"),
        ("id=" + "x" * 300, "no name is longer"),
        ("parent=%00", "parent: holds a NUL"),
        ("&".join(f"where=a{n}%3D1" for n in range(30)), "at most 20"),
    ],
)
async def test_what_cannot_be_searched_for_is_said_on_the_page(app: Romancy, search: str, words: str) -> None:
    browser = Browser(asgi(app, auth="local"))

    page = await browser.get(f"/instances?{search}")

    assert page.status == 400 or not words
    assert words in browser.text(page)
    assert 'name="where"' in page.body.decode()  # the form is still there


async def test_htmx_gets_the_list_alone(app: Romancy) -> None:
    part = await Browser(asgi(app, auth="local")).get("/instances?id=order-1", hx_request="true")

    assert ["order-1"] == shown(part)
    assert "<html" not in part.body.decode()
    assert part.body.decode().strip().startswith('<div id="list"')
