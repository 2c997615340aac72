"""The pages of limits, on every database: what they show, what they do, and for whom."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from romancy import EventType, Limit, Romancy, WorkflowContext, workflow
from romancy.core import PlaceAsked, PlaceGranted
from romancy.dashboard import Visitor, asgi
from romancy.dashboard.limits import _pages, _shown
from romancy.storage.routing import address_of_lane
from romancy_conformance.behaviour.waiting import until
from tests.dashboard.browsing import Browser

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from starlette.requests import Request

    from romancy import Handle

pytestmark = pytest.mark.anyio

LOG = "romancy.dashboard.audit"
MARKUP = "<script>alert(1)</script>\u202e"
GO = EventType("go", str)


@workflow(limits=[Limit("shop", key="shop", concurrency=1)])
async def sell(ctx: WorkflowContext, shop: str) -> str:
    return (await ctx.wait_event(GO)).data


@workflow(limits=[Limit("..", rate=(10, 60))])
async def call(ctx: WorkflowContext) -> str:
    return (await ctx.wait_event(GO)).data


@pytest.fixture
async def app(storage_url: str) -> AsyncGenerator[Romancy]:
    async with Romancy(storage_url, workflows=[sell, call]) as app:
        yield app


async def sold(app: Romancy, shop: str, *names: str) -> list[Handle[str]]:
    """Start these one after the other: the first is inside, and the others stand in line."""
    handles = [await app.start(sell.options(instance_id=names[0]), shop)]
    await has(handles[0], PlaceGranted)
    for name in names[1:]:
        handles.append(await app.start(sell.options(instance_id=name), shop))
        await has(handles[-1], PlaceAsked)
    return handles


async def has(handle: Handle[str], kind: type) -> None:
    async def there() -> bool:
        return any(isinstance(event, kind) for event in await handle.history())

    await until(there)


def lane(limit: str, key: str) -> str:
    return f"/lane?at={quote(address_of_lane(limit, key), safe='')}"


async def test_the_list_has_what_each_lane_holds(app: Romancy) -> None:
    browser = Browser(asgi(app, auth="local"))
    assert "Nobody is inside of a limit" in browser.text(await browser.get("/limits"))
    await sold(app, MARKUP, "a", "b", "c")
    await sold(app, "x", "d")
    await has(await app.start(call), PlaceGranted)
    await app.pause_limit("nobody is there")

    page = await browser.get("/limits")
    text = browser.text(page)

    assert "<script>alert" not in page.body.decode()
    first = text.index("shop <script>alert(1)</script>\\u202e active 1 at once 1 of 1 inside 2 waiting since 20")
    assert first < text.index("shop x active 1 at once 1 of 1 inside 0 waiting since –")
    assert ".. all active 10 in 60 s 1 inside 0 waiting since –" in text
    assert "nobody is there all paused as the code declares 0 inside 0 waiting since –" in text
    assert f'href="{lane("shop", "x")}"' in page.body.decode()
    part = (await browser.get("/limits", hx_request="true")).body.decode()
    assert ("<html" in part, 'id="list"' in part) == (False, True)


async def test_the_page_of_a_lane_says_who_is_inside_and_who_waits_in_which_order(app: Romancy) -> None:
    browser = Browser(asgi(app, auth="local"))
    await sold(app, "x/1", "a", "c", "b")

    page = await browser.get(lane("shop", "x/1"))
    text = browser.text(page)

    assert "State active Allowed 1 at once Inside 1 of 1 Waiting 2 since 20" in text
    inside, _, line = text.partition(" Inside In the order")[2].partition(" In line ")
    assert [True, False, False] == [f" {one} waiting sell since" in inside for one in "abc"]
    assert line.index(" 1 c ") < line.index(" 2 b ")
    assert 'href="/free/a"' in page.body.decode()
    part = (await browser.get(lane("shop", "x/1"), hx_request="true")).body.decode()
    assert ("<html" in part, 'id="lane"' in part) == (False, True)
    empty = browser.text(await browser.get(lane("shop", "y")))
    assert ("No place is taken." in empty, "Nobody waits." in empty) == (True, True)
    for wrong in ("/lane", "/lane?at=e/go", "/lane?at=l/k/x/shop/y", "/lane?at=l/k", "/lane?at=l/k/0//y"):
        assert 404 == (await browser.get(wrong)).status, wrong


async def test_a_key_that_is_too_long_for_an_address_has_a_page(app: Romancy) -> None:
    browser = Browser(asgi(app, auth="local"))
    await sold(app, "k" * 300, "a", "b")

    listed = (await browser.get("/limits/shop")).body.decode()
    target = listed.partition('href="/lane?at=')[2].partition('"')[0]

    assert "Waiting 1 since" in browser.text(await browser.get(f"/lane?at={target}"))


async def test_a_limit_is_changed_paused_resumed_and_reset(app: Romancy, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, LOG)
    browser = Browser(asgi(app, auth="local"))
    first, second, third = await sold(app, "x", "a", "b", "c")

    async def act(verb: str, **fields: str) -> str:
        done = await browser.submit(f"/limit/{verb}/shop", fields)
        assert 303 == done.status, browser.text(done)
        return done.headers["location"]

    assert "/limits/shop?done=limit-change" == await act("change", concurrency="2")
    await has(second, PlaceGranted)
    page = await browser.get("/limits/shop?done=limit-change")
    assert "These numbers hold from now on." in browser.text(page)
    assert "Allowed, for each key 2 at once chosen" in browser.text(page)
    assert [True, True, False, True] == [
        f">{one}</a>" in page.body.decode() for one in ("Change", "Pause", "Resume", "Reset")
    ]
    await act("pause")
    again = await browser.post("/limit/pause/shop", {"csrf": await browser.token("/limit/change/shop")})
    assert (409, True) == (again.status, "The limit is paused already." in browser.text(again))
    await first.signal(GO, "done")
    await first.result(timeout=30)
    await act("resume")
    await has(third, PlaceGranted)
    assert "The limit is not paused." in browser.text(await browser.get("/limit/resume/shop"))
    await act("reset")
    assert "What the code declares holds already." in browser.text(await browser.get("/limit/reset/shop"))
    assert "Allowed, for each key 1 at once Keys" in browser.text(await browser.get("/limits/shop"))
    lines = [each.partition(": ")[2] for each in caplog.messages]
    assert [f"{verb} limit 'shop': done" for verb in ("change", "pause", "resume", "reset")] == lines


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "it limits nothing"), ({"concurrency": "0"}, "at least 1"), ({"concurrency": "1.5"}, "no whole number"),
        ({"number": "3"}, "give both, or neither"), ({"number": "3", "seconds": "x"}, "no number of seconds"),
        ({"number": "3", "seconds": "nan"}, "the period of rate="), ({"number": "0", "seconds": "1"}, "at least 1"),
    ],
)  # fmt: skip
async def test_numbers_that_make_no_sense_are_refused_and_kept_in_the_form(
    app: Romancy, fields: dict[str, str], words: str
) -> None:
    browser = Browser(asgi(app, auth="local"))

    answer = await browser.submit("/limit/change/shop", fields)

    assert (409, True) == (answer.status, words in browser.text(answer)), browser.text(answer)
    for value in fields.values():
        assert f'value="{value}"' in answer.body.decode()
    assert [] == await app.limits()


async def test_places_are_given_back_by_hand(app: Romancy, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, LOG)
    browser = Browser(asgi(app, auth="local"))
    _, second = await sold(app, "x", "a", "b")
    asked = await browser.get("/free/a")
    assert "Inside of shop x" in browser.text(asked)

    done = await browser.submit("/free/a", {})

    assert (303, "/instances/a?done=free") == (done.status, done.headers["location"])
    await has(second, PlaceGranted)
    again = await browser.get("/free/a")
    assert (409, True) == (again.status, "It has no place." in browser.text(again))
    assert 404 == (await browser.get("/free/nobody")).status
    assert ["free places 'a': done"] == [each.partition(": ")[2] for each in caplog.messages]


async def test_the_page_of_an_instance_says_why_it_stands_in_line(app: Romancy) -> None:
    browser = Browser(asgi(app, auth="local"))
    await sold(app, "x", "a", "b")

    waits, inside = await browser.get("/instances/b"), await browser.get("/instances/a")

    assert "0 before it in line, held by a." in browser.text(waits)
    assert "In line at shop x" in browser.text(waits)
    assert "Inside of shop x" in browser.text(inside)
    for page in (waits, inside):
        assert f'href="{lane("shop", "x")}"' in page.body.decode()


async def test_each_action_needs_a_form_of_this_browser(app: Romancy) -> None:
    await sold(app, "x", "a")
    browser, stranger = [Browser(asgi(app, auth="local")) for _ in range(2)]
    token = await browser.token("/limit/pause/shop")

    for target in ("/limit/pause/shop", "/free/a"):
        assert 403 == (await stranger.post(target, {"csrf": token})).status
        assert 403 == (await browser.post(target, {})).status
        assert 403 == (await browser.post(target, {"csrf": token}, origin="https://evil.example")).status
    (found,) = await app.limits()
    assert (found.paused, found.taken) == (False, 1)


async def test_what_a_visitor_may_not_do_is_neither_offered_nor_done(
    app: Romancy, caplog: pytest.LogCaptureFixture
) -> None:
    await sold(app, "x", "a")
    caplog.set_level(logging.INFO, LOG)

    def by_name(request: Request) -> Visitor:
        return Visitor("ann", actions={"limits"} if request.query_params.get("as") == "ann" else {"signal"})

    browser = Browser(asgi(app, auth=by_name))
    at = lane("shop", "x")
    for target in ("/limit/pause/shop", "/free/a"):
        assert target in (await browser.get(f"{at}&as=ann")).body.decode()
        assert target not in (await browser.get(at)).body.decode()
        token = await browser.token(f"{target}?as=ann")
        asked, sent = await browser.get(target), await browser.post(target, {"csrf": token})
        assert [403, 403] == [asked.status, sent.status]
    assert "'ann': limits 'shop': refused (not allowed)" in caplog.messages
    quiet = Browser(asgi(app, auth="local", read_only=True))
    assert [403, 403] == [(await quiet.get(target)).status for target in ("/limit/pause/shop", "/free/a")]
    assert "/free/a" not in (await quiet.get(at)).body.decode()
    assert 404 == (await Browser(asgi(app, auth="local")).get("/limit/burn/shop")).status


async def test_what_is_more_than_a_page_is_said(app: Romancy, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (_pages, _shown):
        monkeypatch.setattr(module, "EACH", 2)
    await sold(app, "x", "a", "b", "c", "d")
    for shop in ("y", "z"):
        await sold(app, shop, f"in-{shop}")
    browser = Browser(asgi(app, auth="local"))

    assert "The 2 most crowded." in browser.text(await browser.get("/limits"))
    assert "and 1 more" in browser.text(await browser.get(lane("shop", "x")))


async def test_names_that_a_browser_would_change_are_in_the_query(app: Romancy) -> None:
    await has(await app.start(call), PlaceGranted)
    browser = Browser(asgi(app, auth="local"))

    page = await browser.get("/limit?id=..")

    assert 'href="/limit/pause?id=.."' in page.body.decode()
    assert 303 == (await browser.submit("/limit/pause?id=..", {})).status
    assert [True] == [one.paused for one in await app.limits("..")]
    assert [404, 404] == [(await browser.get(one)).status for one in ("/limits/a~b", "/limit")]
