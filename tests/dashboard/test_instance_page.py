"""The page of an instance on each database: what it shows, what it reads for it, and that hostile content is inert."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

import pytest

from romancy import (
    Romancy,
    Status,
    WorkflowContext,
    WorkflowFailedError,
    activity,
    workflow,
)
from romancy.dashboard import asgi
from romancy.dashboard._acting import ACTIONS
from romancy.dashboard._search import Search
from romancy.dashboard.bulk._matching import matching
from romancy.engine.worker.recovery import Recovery
from romancy_conformance.behaviour.coded import Masking
from romancy_conformance.behaviour.waiting import status_is, until
from tests.dashboard.browsing import Browser
from tests.dashboard.long_log import plant
from tests.dashboard.shopping import bill, charge, shop

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from romancy.storage.records import Claimed

pytestmark = pytest.mark.anyio

EVIL = "<script>alert(1)</script>\u202e\x00'\"--><svg onload=alert(2)>"


@charge.compensation
async def refund(item: str, deep: Any = None) -> None:
    return None


@pytest.fixture
async def app(storage_url: str) -> AsyncGenerator[Romancy]:
    async with Romancy(storage_url, workflows=[shop, bill]) as app:
        yield app


@pytest.fixture
def browser(app: Romancy) -> Browser:
    return Browser(asgi(app, auth="local"))


async def page(browser: Browser, target: str) -> str:
    path, _, query = target.partition("?")  # a server gives an application the path unquoted
    answer = await browser.get(f"{unquote(path)}?{query}")
    assert 200 == answer.status, Browser.text(answer)
    return answer.body.decode()


def words(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


async def test_the_timeline_and_its_table_have_the_same_rows(app: Romancy, browser: Browser) -> None:
    handle = await app.start(shop.options(instance_id="o-1"), "lamp")
    await handle.result(timeout=60)

    html = await page(browser, "/instances/o-1")

    names = re.findall(r'<a class="tl-name" href="#(e\d+-\d+)">', html)
    rows = re.findall(r'<tr id="(e\d+-\d+)"', html)
    assert names == rows
    labels = ["workflow shop started", "charge:1", "reported progress", "timer:1", "bill:1", "ship:1", "completed"]
    assert labels == re.findall(r'<span class="step-name"><bdi>([^<]*)</bdi>', html)
    assert 2 == len(re.findall(r'class="b b-(?:failed|done)" [^>]*><title>charge:1', html)), "each attempt is a bar"
    assert "ConnectionError: the provider hung up on lamp" in words(html)
    assert "raise ConnectionError(f" in html, "with the line of the source"
    assert "parcel-9" in words(html)
    assert "style=" not in html
    assert not re.search(r"<script(?! src=)", html)


async def test_headers_of_the_start_are_shown(app: Romancy, browser: Browser) -> None:
    bad = EVIL.replace("\x00", "")
    await app.run(bill.options(instance_id="h-1", headers={"tenant": "acme", bad: bad}), "lamp")
    await app.run(bill.options(instance_id="h-2"), "lamp")

    html = await page(browser, "/instances/h-1")
    assert "header tenant acme" in words(html)
    assert "<script>alert" not in html
    assert "header " not in words(await page(browser, "/instances/h-2"))


async def test_a_failure_shows_what_was_undone_and_why(app: Romancy, browser: Browser) -> None:
    handle = await app.start(shop.options(instance_id="o-2"), "lost")
    with pytest.raises(WorkflowFailedError):
        await handle.result(timeout=60)

    html = await page(browser, "/instances/o-2")

    assert "undoes charge:1" in words(html)
    assert 'class="tl-lane k-compensation t-good"' in html
    assert "no address for lost" in words(html)
    assert "romancy retry o-2" in words(html)


async def test_each_view_answers(app: Romancy, browser: Browser) -> None:
    for name in ("lamp", "bulb"):
        await (await app.start(shop.options(instance_id=name), name)).result(timeout=60)

    graph = await page(browser, "/instances/lamp?view=graph")
    assert "bill:1 after timer:1" in words(graph)
    mermaid = await browser.get("/instances/lamp?view=graph&as=mermaid")
    assert mermaid.body.startswith(b"flowchart TD")
    assert "attachment" in mermaid.headers["content-disposition"]
    family = await page(browser, "/instances/lamp?view=family")
    (child,) = set(re.findall(r'/instances/(lamp\.bill[^"]*)"', family))
    assert "child of" in words(await page(browser, f"/instances/{child}?view=family"))
    assert "/instances?parent=lamp" in family
    assert [child] == re.findall(r'href="/instances/([^"?]+)"><bdi>', await page(browser, "/instances?parent=lamp"))
    log = words(await page(browser, "/instances/lamp?view=log"))
    assert all(name in log for name in ("WorkflowStarted", "ActivityAttemptFailed", "TimerFired", "WorkflowCompleted"))
    compared = words(await page(browser, "/instances/lamp?view=compare&with=bulb"))
    assert "Their ways part at charge:1" in compared
    assert 404 == (await browser.get("/instances/lamp?view=nothing")).status
    assert 400 == (await browser.get("/instances/lamp?row=1.x")).status
    assert 400 == (await browser.get("/instances/lamp?from=5&to=4")).status


async def test_time_travel_shows_what_was_reported_and_outstanding(app: Romancy, browser: Browser) -> None:
    await (await app.start(shop.options(instance_id="o-3"), "lamp")).result(timeout=60)

    target, seen = "/instances/o-3?view=state&at=1.0", list[str]()
    while target:
        html = await page(browser, target)
        seen.append(words(html))
        following = re.search(r'rel="next" href="([^"]+)"', html)
        target = following[1].replace("&amp;", "&") if following else ""

    assert len(await app.history("o-3")) == len(seen)
    assert "Outstanding 0 Nothing. Had ended latest first Nothing yet." in seen[0]
    assert "Outstanding 1 activity charge:1" in seen[1]
    reports = [text.partition("Reported ")[2].partition(" Outstanding")[0] for text in seen]
    assert "Nothing yet." in reports[0]
    assert "Nothing yet." not in reports[-1]
    assert "&#34;lamp&#34;" in reports[-1]
    assert 404 == (await browser.get("/instances/o-3?view=state&at=999")).status


async def test_why_it_does_not_move_is_said_first(app: Romancy, browser: Browser) -> None:
    await app.start(shop.options(instance_id="o-4"), "lamp", wait="yes")

    async def waits_for_the_event() -> bool:
        found = await app.get_instance("o-4", waits=True)
        return found is not None and [wait.kind for wait in found.waits or ()] == ["event"]

    await until(waits_for_the_event)

    html = words(await page(browser, "/instances/o-4"))

    assert "Why it does not move" in html
    assert "It waits for the event &#39;order.paid&#39;, without a time limit" in html


async def test_hostile_content_is_inert_on_every_view(app: Romancy, browser: Browser) -> None:
    name = EVIL.replace("\x00", "")
    deep: Any = json.loads("[" * 100 + "]" * 100)
    handle = await app.start(shop.options(instance_id=name), "lost" + EVIL, deep={EVIL: [deep, "y" * 100_000]})
    with pytest.raises(WorkflowFailedError):
        await handle.result(timeout=60)

    for view in ("timeline", "graph", "family", "state", "log", f"compare&with={quote(name)}"):
        html = await page(browser, f"/instances/{quote(name, safe='')}?view={view}")
        shown = re.sub(r' value="[^"]*"', "", html)  # a field has to send back what it was given
        assert not re.search(r"<script(?! src=)|<svg onload|\u202e|\x00|style=", shown), view
        assert len(html) < 400_000, view


async def test_a_payload_can_be_had_whole(app: Romancy, browser: Browser) -> None:
    big = "z" * 200_000
    await (await app.start(shop.options(instance_id="o-5"), "lamp", deep=big)).result(timeout=60)

    html = await page(browser, "/instances/o-5")
    assert len(html) < 100_000
    for target in set(re.findall(r'href="([^"]*view=raw[^"]*)"', html)):
        answer = await browser.get(target.replace("&amp;", "&"))
        assert (200, "nosniff") == (answer.status, answer.headers["x-content-type-options"])
        assert answer.headers["content-disposition"].startswith("attachment")
        json.loads(answer.body)
    whole = await browser.get("/instances/o-5?view=raw&field=input")
    assert ("lamp", big) == (whole.json["item"], whole.json["deep"])
    assert 404 == (await browser.get("/instances/o-5?view=raw&at=1.1&field=__class__")).status


async def test_a_page_costs_the_same_however_long_the_log_is(storage_url: str) -> None:
    """Statements are counted, and rows: no page reads more than a few slices of the log."""
    async with Romancy(storage_url, workflows=[bill], worker=False) as app:
        await plant(storage_url, 5000)
        store = app._access.opened()  # pyright: ignore[reportPrivateUsage] - what the page reads with is counted
        asked: list[int] = []
        read = store.read

        async def counted(instance_id: str, /, *, after: int = 0, limit: int = 1000) -> Any:
            asked.append(limit)
            return await read(instance_id, after=after, limit=limit)

        store.read = counted  # type: ignore[method-assign]
        browser = Browser(asgi(app, auth="local"))
        for view in ("", "?row=1200", "?row=2400", "?view=log&row=2000", "?view=graph&row=700", "?view=state&at=2450"):
            asked.clear()
            html = await page(browser, f"/instances/long{view}")
            assert len([limit for limit in asked if limit > 1]) <= 6, "slices"
            assert len(asked) <= 6 + 16, "looks for the end of a log whose row does not know it"
            assert len(html) < 300_000, view
        assert "Its activity a (a:2500)" in words(await page(browser, "/instances/long")), "of the end, not of a slice"
        assert "As of event 2500.1" in words(await page(browser, "/instances/long?view=state&at=latest"))
        assert "began in commits 1,200 to 1,299 of 2,500." in words(await page(browser, "/instances/long?row=1200"))
        assert 'id="e2500-1"' in await page(browser, "/instances/long?row=latest")
        rows: list[str] = []
        target = "/instances/long"
        while target and len(rows) < 250:
            html = await page(browser, target)
            rows += re.findall(r'<tr id="(e\d+-\d+)"', html)
            following = re.search(r'<a class="button" href="([^"]+)">Next</a>', html)
            target = following[1].replace("&amp;", "&") if following else ""
        assert [f"e{seq}-1" for seq in range(2, 250)] == rows[2:250], "pages follow each other without a gap"


@pytest.mark.parametrize("recorded", [True, False], ids=["recorded", "of an older version"])
async def test_a_stuck_instance_shows_both_sides_of_its_divergence(
    storage_url: str, monkeypatch: pytest.MonkeyPatch, *, recorded: bool
) -> None:
    """The log has them as values. Of what older versions left there are the words for people alone."""
    told = ["activity ship; by car as ship; by car:1"]
    if not recorded:
        told = ["activity ship", "by car as ship", "by car:1"]
        park = Recovery.park

        def wordy(recovery: Recovery, claimed: Claimed, reason: str, misfit: object = None, **how: Any) -> None:
            park(recovery, claimed, reason, **how)

        monkeypatch.setattr(Recovery, "park", wordy)

    @activity(name="ship; by car")
    async def ship_by_car() -> None: ...

    @workflow(name="trip", version="1")
    async def booked(ctx: WorkflowContext) -> None:
        await ship_by_car()
        await ctx.wait_event("never")

    @workflow(name="trip", version="2")
    async def rebooked(ctx: WorkflowContext) -> None:
        await charge("car")
        await ctx.wait_event("never")

    async with Romancy(storage_url, workflows=[booked]) as app:
        await app.start(booked.options(instance_id="t-1"))
        await status_is(app, "t-1", Status.WAITING)
    async with Romancy(storage_url, workflows=[rebooked]) as app:
        await app.handle("t-1").signal("never", None)
        await status_is(app, "t-1", Status.STUCK)

        html = await page(Browser(asgi(app, auth="local")), "/instances/t-1")

    assert "Where the code left the log" in html
    assert told == re.findall(r"<del><bdi>([^<]*)</bdi></del>", html)
    assert ["activity charge as charge:1"] == re.findall(r"<ins><bdi>([^<]*)</bdi></ins>", html)
    assert "code of the log: 1; code now: 2" in html


async def test_sealed_inputs_are_searched_with_the_codec_alone(storage_url: str) -> None:
    """They are not found by their values: neither among the newest instances nor behind those that are not sealed."""
    search = "/instances?where=item%3Dlamp"
    declared = workflow(name=shop.name, index=["item"])(shop.fn)
    async with Romancy(storage_url, workflows=[declared], codecs=[Masking()], worker=False) as app:
        await app.start(declared.options(instance_id="sealed"), "lamp")
        found = await page(Browser(asgi(app, auth="local")), search)
        newest = asgi(storage_url, auth="local")
        refused = await Browser(newest).get(search)
        of_others = await Browser(newest).get("/instances?where=item%3Dchair")
    async with Romancy(storage_url, workflows=[shop], worker=False) as plain:
        await plain.start_many([shop.options(instance_id=f"plain-{number}").bind("chair") for number in range(201)])
    behind = asgi(storage_url, auth="local")
    without = Browser(behind)
    chairs = await page(without, "/instances?where=item%3Dchair")
    hit, bulk = await without.get(search), await without.get("/bulk/cancel?where=item%3Dlamp")
    afterwards = await without.get("/instances?where=item%3Dchair")
    listed = await page(without, "/instances?id=sealed")
    async with Romancy(storage_url, workflows=[shop], worker=False) as counting:
        store, now = counting._access.opened(), 2**62  # pyright: ignore[reportPrivateUsage] - what a job searches
        acted_on, _ = await matching(store, ACTIONS["cancel"], Search(where=("item=lamp",)), now)
        chair, _ = await matching(store, ACTIONS["cancel"], Search(where=("item=chair",)), now)

    assert "/instances/sealed" in found
    assert [403] * 5 == [one.status for one in (refused, of_others, hit, bulk, afterwards)]
    assert not any(b"/instances/sealed" in one.body for one in (refused, of_others, hit, bulk, afterwards))
    assert (0, 201) == (len(acted_on), len(chair)), "a job whose form was forged does not find it either"
    assert "/instances/plain-" in chairs
    assert "/instances/sealed" in listed
    await newest.close()
    await behind.close()


async def test_sealed_payloads_are_shown_with_the_codec_alone(storage_url: str) -> None:
    async with Romancy(storage_url, workflows=[bill], codecs=[Masking()]) as app:
        await (await app.start(bill.options(instance_id="s-1"), "a secret lamp")).result(timeout=60)
        await app.start(bill.options(instance_id="later", delay=3600), "a secret chair")
        for target in ("/instances", "/instances/s-1"):
            assert "a secret lamp" in await page(Browser(asgi(app, auth="local")), target)
        sealed = asgi(storage_url, auth="local")
        without = Browser(sealed)
        for view in ("timeline", "graph", "family", "state&at=1.0", "log", "compare&with=s-1"):
            html = await page(without, f"/instances/s-1?view={view}")
            assert "The log is sealed" in html, view
            assert "secret" not in html, view
        for target in ("/instances/s-1?view=raw&field=input", "/instances/s-1?view=raw&at=1.0"):
            answer = await without.get(target)
            assert answer.status in {404, 409}
            assert b"secret" not in answer.body
        for target in ("/", "/instances", "/act/signal/later"):
            assert "secret" not in await page(without, target)
        assert "sealed" in await page(without, "/instances")
        await sealed.close()


async def test_an_open_page_hears_of_changes_and_fetches_its_part(app: Romancy, browser: Browser) -> None:
    await app.start(shop.options(instance_id="o 6"), "lamp", wait="yes")

    html = await page(browser, "/instances/o%206")
    assert re.search(r'data-live="/changes/instance\?id=o%206" data-version="[^"]+" data-part="/instances/o%206"', html)
    answer = await browser.get("/instance?id=o%206", hx_request="true")
    assert b"<html" not in answer.body
    assert b'id="instance"' in answer.body


LINES = ("order\n42", "\n", "order\n", "\r\n\x85\u2028", "a/b\nc")


@pytest.mark.parametrize("instance_id", LINES)
async def test_an_id_with_line_breaks_has_pages_of_its_own(app: Romancy, browser: Browser, instance_id: str) -> None:
    for one in dict.fromkeys((instance_id, instance_id.rstrip("\n") or "x")):
        await (await app.start(bill.options(instance_id=one), f"lamp of {one!r}")).result(timeout=60)
    link = f"/instances/{quote(instance_id, safe='')}"
    assert f'href="{link}"' in (await browser.get("/instances")).body.decode()

    shown = await browser.get(link)
    purging = await browser.get(f"/act/purge/{quote(instance_id, safe='')}")
    purged = await browser.submit(f"/act/purge/{quote(instance_id, safe='')}", {})

    assert (200, 200, 303) == (shown.status, purging.status, purged.status)
    assert json.dumps(f"bill of lamp of {instance_id!r}")[1:-1] in browser.text(shown)
    assert await app.get_instance(instance_id) is None
