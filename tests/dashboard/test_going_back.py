"""Going back from a step of the timeline, on every database: shown first, done once, and by those who may."""

from __future__ import annotations

import html
import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from romancy import (
    Romancy,
    Status,
    TerminalError,
    WorkflowContext,
    WorkflowFailedError,
    activity,
    compensation,
    workflow,
)
from romancy.dashboard import Visitor, asgi
from romancy.serialization import Codecs
from romancy_conformance.behaviour.coded import Masking
from romancy_conformance.behaviour.waiting import status_is, until
from tests.dashboard.browsing import Browser

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from tests.http.client import Answer

pytestmark = pytest.mark.anyio

LOG = "romancy.dashboard.audit"
HIDDEN = re.compile(r'<input type="hidden" name="(\w+)" value="([^"]*)">')
LINK = re.compile(r'<a class="back" href="([^"]*)"')
EVIL = "<script>alert(1)</script>\u202e'\"--><svg onload=alert(2)>"
INERT = ("<script>alert", "<svg onload", "\u202e")

done: list[str] = []
broken: set[str] = set()


@dataclass
class Order:
    item: str
    count: int = 1


@activity
async def pack(what: str) -> str:
    if what in broken:
        raise TerminalError(f"no {what}")
    done.append(what)
    return what


@workflow
async def parcel(ctx: WorkflowContext, order: Order) -> str:
    await pack("box")
    await pack("tape")
    return await pack(order.item)


@workflow
async def hears(ctx: WorkflowContext) -> list[Any]:
    return [(await ctx.wait_event("go", model=int)).data for _ in range(3)]


@workflow
async def empty(ctx: WorkflowContext) -> str:
    return await pack("nothing")


@workflow
async def many(ctx: WorkflowContext, count: int) -> None:
    for number in range(count):
        await pack(f"{number}")


@workflow
async def turns(ctx: WorkflowContext, left: int) -> int:
    await pack(f"turn {left}")
    if left:
        turns.recur(left - 1)
    return ctx.run


@compensation
async def unpack(what: str) -> None:
    done.append(f"unpack {what}")


@activity(compensation=unpack)
async def load(what: str) -> str:
    done.append(what)
    return what


@workflow
async def loads(ctx: WorkflowContext) -> str:
    await load("box")
    return await load("crate")


WORKFLOWS: list[Any] = [parcel, hears, empty, loads, many, turns]


@pytest.fixture
async def app(storage_url: str) -> AsyncGenerator[Romancy]:
    done.clear()
    broken.clear()
    async with Romancy(storage_url, workflows=WORKFLOWS) as app:
        await app.run(parcel.options(instance_id="p/1 ?"), Order("lamp"))
        yield app


@pytest.fixture
def browser(app: Romancy) -> Browser:
    return Browser(asgi(app, auth="local"))


PAGE = f"/instances/{quote('p/1 ?', safe='')}"
BACK = f"/go-back/{quote('p/1 ?', safe='')}?before=pack%3A2"
REWIND = f"{BACK}&as=rewind&undo=keep"


async def links(browser: Browser, page: str) -> list[str]:
    shown = await browser.get(page)
    assert 200 == shown.status
    return [html.unescape(one) for one in LINK.findall(shown.body.decode())]


def hidden(shown: Answer) -> dict[str, str]:
    """The fields that a browser sends back as they are, those of the form that acts."""
    form = shown.body.decode().rpartition('method="post"')[2]
    return {name: html.unescape(value) for name, value in HIDDEN.findall(form)}


def seen(shown: Answer) -> str:
    """The page, without what a form gives back as it was typed."""
    return re.sub(r'value="[^"]*"', "", shown.body.decode())


async def confirm(browser: Browser, page: str, **fields: str) -> Answer:
    shown = await browser.get(page)
    assert 200 == shown.status, browser.text(shown)
    return await browser.post(page, {**hidden(shown), **fields})


async def unchanged(app: Romancy, ended: int = 1) -> bool:
    found = await app.get_instance("p/1 ?")
    return found is not None and found.status is Status.COMPLETED and int(await app.count()) == ended


async def test_a_fork_from_a_step_of_the_timeline(
    app: Romancy, browser: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, LOG)
    offered = await links(browser, PAGE)
    assert [BACK.replace("%3A2", f"%3A{number}") for number in (1, 2, 3)] == offered

    shown = await browser.get(offered[1])
    text = browser.text(shown)

    assert 200 == shown.status
    assert "Kept 1 Ended before the point" in text
    assert "pack:1 completed" in text
    assert "Done again 0" in text
    assert "Left out 2 Begun behind the point" in text
    assert "pack:2 completed pack:3 completed" in text
    assert '"item": "lamp"' in html.unescape(shown.body.decode())
    assert await unchanged(app)

    made = await confirm(browser, offered[1])

    assert 303 == made.status
    target = made.headers["location"]
    assert target.endswith("?done=fork")
    fork = target.removeprefix("/instances/").partition("?")[0]
    assert "lamp" == await app.handle(fork).result(timeout=60)
    assert ["box", "tape", "lamp", "tape", "lamp"] == done
    assert "This is the fork" in browser.text(await browser.get(target))
    assert f"fork 'p/1 ?': done: {fork!r}" in caplog.text
    assert "lamp" not in caplog.text
    assert await unchanged(app, 2)


async def test_a_fork_with_an_id_and_another_input(app: Romancy, browser: Browser) -> None:
    for number, text in enumerate(('{"order": {"item": "vase"}}', '{"item": "bulb", "count": 2}')):
        made = await confirm(browser, f"{BACK}&as=fork", id=f"  f-{number} ", input=text)
        assert (303, f"/instances/f-{number}?done=fork") == (made.status, made.headers["location"])
    assert ["vase", "bulb"] == [await app.handle(f"f-{number}").result(timeout=60) for number in range(2)]

    shown = await browser.get(f"{BACK}&as=fork")
    form = re.search(r'<textarea[^>]*name="input"[^>]*>(.*?)</textarea>', shown.body.decode(), re.DOTALL)
    assert form is not None
    same = html.unescape(form[1]).replace("\n", "\r\n")  # as browsers send it
    made = await confirm(browser, f"{BACK}&as=fork", id="f-2", input=same)
    assert 303 == made.status
    again = await confirm(browser, f"{BACK}&as=fork", id="f-2", input="")
    assert 303 == again.status, "it is the same fork, because the input is as it was"
    assert "lamp" == await app.handle("f-2").result(timeout=60)


async def test_a_form_that_is_sent_twice_makes_one_fork(app: Romancy, browser: Browser) -> None:
    fields = hidden(await browser.get(BACK))

    first, second = [await browser.post(BACK, {**fields, "input": ""}) for _ in range(2)]
    other = await browser.post(BACK, {**fields, "input": '{"item": "vase"}'})

    assert first.headers["location"] == second.headers["location"] != other.headers["location"]
    assert 3 == int(await app.count())


async def test_a_rewind_says_what_stands_and_asks_for_it(
    app: Romancy, browser: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, LOG)
    refused = await browser.get(f"{BACK}&as=rewind")

    assert 409 == refused.status
    assert "Cut off 2" in browser.text(refused)
    assert "pack:2 completed stands pack:3 completed stands" in browser.text(refused)
    assert "It cannot be rewound there: pack:2, pack:3 did something" in browser.text(refused)
    assert 'method="post"' not in refused.body.decode()
    sent = await browser.post(f"{BACK}&as=rewind", {**hidden(await browser.get(REWIND))})
    assert 409 == sent.status
    assert await unchanged(app)

    rewound = await confirm(browser, REWIND)

    assert (303, f"{PAGE}?done=rewind") == (rewound.status, rewound.headers["location"])
    assert "lamp" == await app.handle("p/1 ?").result(timeout=60)
    assert ["box", "tape", "lamp", "tape", "lamp"] == done
    assert "The instance was taken back" in browser.text(await browser.get(rewound.headers["location"]))
    assert "rewind 'p/1 ?': done: 'p/1 ?'" in caplog.text
    assert 3 == len(await links(browser, PAGE)), "one for each step of its last run"


async def test_what_is_undone_first_is_shown_in_its_order(app: Romancy, browser: Browser) -> None:
    await app.run(loads.options(instance_id="l-1"))
    done.clear()
    page = "/go-back/l-1?before=load%3A1&as=rewind&undo=compensate"

    shown = browser.text(await browser.get(page))
    rewound = await confirm(browser, page)

    first = shown.partition("Undone first")[2].partition("Kept")[0]
    assert 0 < first.index("load:2") < first.index("load:1")
    assert 303 == rewound.status
    assert "crate" == await app.handle("l-1").result(timeout=60)
    assert ["unpack crate", "unpack box", "box", "crate"] == done


async def test_a_plan_that_holds_no_more_is_shown_again(app: Romancy, browser: Browser) -> None:
    """The form was made before the instance was rewound by somebody else, or before more of it was done."""
    fields = hidden(await browser.get(REWIND))
    await app.rewind("p/1 ?", before="pack:2", undo="keep")
    await app.handle("p/1 ?").result(timeout=60)

    for sent in (fields, {**fields, "seen": ""}, {"csrf": fields["csrf"]}):
        late = await browser.post(REWIND, sent)
        assert 409 == late.status
        assert "The instance has gone on since. This is the plan now." in browser.text(late)
        assert fields["seen"] != hidden(late)["seen"]
    assert ["box", "tape", "lamp", "tape", "lamp"] == done


async def test_an_open_instance_goes_back(app: Romancy, browser: Browser) -> None:
    await app.start(hears.options(instance_id="h-1"))
    await app.signal("h-1", "go", 1)

    async def hears_on() -> bool:
        return len(await links(browser, "/instances/h-1")) == 2

    await until(hears_on)
    await app.pause("h-1", reason="look")
    await status_is(app, "h-1", Status.PAUSED)

    shown = await browser.get("/go-back/h-1?before=go%3A1&as=rewind")
    assert "go:2 open" in browser.text(shown)
    assert 'name="input"' not in (await browser.get("/go-back/h-1?before=go%3A2")).body.decode()
    assert 303 == (await confirm(browser, "/go-back/h-1?before=go%3A1&as=rewind")).status
    await app.unpause("h-1")
    for number in (4, 5, 6):
        await app.signal("h-1", "go", number)
    assert [4, 5, 6] == await app.handle("h-1").result(timeout=60)


async def test_a_failed_instance_goes_back_to_a_commit(app: Romancy, browser: Browser) -> None:
    broken.add("lamp")
    failed = await app.start(parcel.options(instance_id="p-2"), Order("lamp"))
    with pytest.raises(WorkflowFailedError):
        await failed.result(timeout=60)
    broken.clear()

    assert "commit 2" in browser.text(await browser.get("/go-back?id=p-2&at=2"))
    assert 303 == (await confirm(browser, "/go-back?id=p-2&before=pack%3A3&as=rewind")).status

    assert "lamp" == await failed.result(timeout=60)


async def test_only_steps_of_the_last_run_lead_back(app: Romancy, browser: Browser) -> None:
    await app.run(turns.options(instance_id="t-1"), 2)
    broken.add("lamp")
    failed = await app.start(parcel.options(instance_id="p-2"), Order("lamp"))
    with pytest.raises(WorkflowFailedError):
        await failed.result(timeout=60)
    broken.clear()
    await app.retry("p-2")
    await failed.result(timeout=60)

    assert ["/go-back/t-1?before=pack%3A1"] == await links(browser, "/instances/t-1")
    retried = await links(browser, "/instances/p-2")
    assert sorted(set(retried)) == sorted(retried), "no step of a failed run before a retry"
    for each in retried:
        assert 200 == (await browser.get(each)).status


async def test_a_long_plan_is_cut(app: Romancy, browser: Browser) -> None:
    await app.run(many.options(instance_id="m-1"), 130)

    text = browser.text(await browser.get("/go-back/m-1?before=pack%3A66"))
    assert "Kept 65 " in text
    assert "15 earlier ones, and pack:16 " in text
    assert "Left out 65 " in text
    assert "and 15 more" in text


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"input": "{"}, "The input is no JSON"), ({"input": "[" * 5000}, "The input is no JSON"),
        ({"input": '{"order": {"item": 5}}'}, "'order' of workflow 'parcel' at $.item: expected str, got int"),
        ({"input": "5"}, "expected"), ({"id": "x" * 300}, "at most 255"), ({"id": "a\0b"}, "NUL"),
        ({"id": "p/1 ?"}, "exists already"), ({"once": "x"}, "The form is not complete"),
        ({"id": ["a", "b"]}, "given twice"), ({"seen": "x"}, "has gone on since"),
        ({"input": EVIL}, "The input is no JSON"),
    ],
)  # fmt: skip
async def test_what_does_not_fit_is_told_on_the_form(
    app: Romancy, browser: Browser, fields: dict[str, Any], words: str
) -> None:
    refused = await browser.post(BACK, {**hidden(await browser.get(BACK)), **fields})

    assert 409 == refused.status
    assert words in browser.text(refused)
    assert 'method="post"' in refused.body.decode()
    assert EVIL[:20] not in refused.body.decode()
    typed = fields.get("input", "")
    assert typed[:9] in html.unescape(refused.body.decode()), "what was typed is not lost"
    assert await unchanged(app)


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ("", 400, "Name one point"), ("before=pack%3A1&at=1", 400, "Name one point"),
        ("at=x", 400, "number of a commit"), ("at=-1", 400, "number of a commit"),
        ("at=%D9%A3", 400, "number of a commit"),
        ("at=99", 409, "no commit 99"),
        ("before=a&before=b", 400, "more than once"), ("before=x&as=undo", 400, "as is one of fork, rewind"),
        ("before=x&children=all", 400, "children is one of"), ("before=x&undo=all", 400, "undo is one of"),
        ("before=pack%3A9", 409, "no step 'pack:9' in its last run. Its steps: pack:1, pack:2, pack:3"),
        ("before=pack%3A9&as=rewind", 409, "no step 'pack:9'"), (f"before={quote(EVIL)}", 409, "no step"),
    ],
)  # fmt: skip
async def test_a_choice_that_is_none_is_told(
    app: Romancy, browser: Browser, query: str, status: int, words: str
) -> None:
    page = f"{BACK.partition('?')[0]}?{query}"

    shown = await browser.get(page)
    sent = await browser.post(page, {**hidden(await browser.get(BACK)), "id": "f-1"})

    assert [status, status] == [shown.status, sent.status]
    assert words in browser.text(shown)
    assert 'method="post"' not in shown.body.decode()
    assert not [one for one in INERT if one in seen(shown)]
    assert await unchanged(app)


async def test_an_instance_that_is_not_there(browser: Browser) -> None:
    assert 404 == (await browser.get("/go-back/nobody?before=x")).status
    assert 404 == (await browser.get("/go-back?before=x")).status


async def test_only_those_who_may_are_offered_it(app: Romancy) -> None:
    looker = Browser(asgi(app, auth="local", read_only=True))
    clerk = Browser(asgi(app, auth=lambda _: Visitor("ann", actions={"fork"})))
    chief = Browser(asgi(app, auth=lambda _: Visitor("bob", actions={"rewind", "signal"})))
    other = Browser(asgi(app, auth=lambda _: Visitor("eve", actions={"signal"})))

    assert [0, 3, 3, 0] == [len(await links(each, PAGE)) for each in (looker, clerk, chief, other)]
    ways = [re.findall(r'name="as" value="(\w+)"', (await each.get(REWIND if each is chief else BACK)).body.decode())
            for each in (clerk, chief)]  # fmt: skip
    assert [["fork"], ["rewind"]] == ways
    assert 409 == (await chief.get(BACK)).status, "it is the rewind that this visitor may do"
    token = {"csrf": await clerk.token(BACK)}
    for each, page in ((looker, BACK), (other, BACK), (clerk, REWIND), (chief, f"{BACK}&as=fork"), (other, REWIND)):
        each.cookies |= clerk.cookies
        assert [403, 403] == [(await each.get(page)).status, (await each.post(page, token)).status], page
    assert await unchanged(app)


@pytest.mark.dealt("sqlite")
async def test_no_other_page_goes_back(app: Romancy, browser: Browser) -> None:
    fields = hidden(await browser.get(REWIND))
    theirs = Browser(browser.client.app)

    for headers in (
        {"origin": "http://evil.example"},
        {"sec_fetch_site": "cross-site"},
        {"content-type": "text/plain"},
    ):
        assert (await browser.post(REWIND, fields, **headers)).status in (403, 415)
    for forged in ({**fields, "csrf": ""}, {**fields, "csrf": "0" * 64}, {"seen": fields["seen"]}):
        assert 403 == (await browser.post(REWIND, forged)).status
    assert 403 == (await theirs.post(REWIND, fields)).status
    assert await unchanged(app)


@pytest.mark.dealt("sqlite")
async def test_a_url_alone_has_no_code(storage_url: str, app: Romancy) -> None:
    dashboard = asgi(storage_url, auth="local")
    browser = Browser(dashboard)

    assert [] == await links(browser, PAGE)
    assert 404 == (await browser.get(BACK)).status
    await dashboard.close()


async def test_an_app_that_is_not_open_and_one_without_the_workflow(storage_url: str, app: Romancy) -> None:
    if storage_url.startswith("memory"):
        pytest.skip("capability: another app cannot see memory://")
    closed = asgi(Romancy(storage_url, workflows=WORKFLOWS), auth="local")
    without = asgi(Romancy(storage_url, workflows=[hears]), auth="local")

    refused = await Browser(without).get(BACK)
    assert (409, True) == (refused.status, "which this app does not know" in Browser.text(refused))
    assert 303 == (await confirm(Browser(closed), f"{BACK}&as=fork", id="f-1")).status
    assert 303 == (await confirm(Browser(closed), REWIND)).status

    assert ["lamp", "lamp"] == [await app.handle(one).result(timeout=60) for one in ("f-1", "p/1 ?")]
    await closed.close()
    await without.close()


async def test_a_visitor_without_payloads_sees_no_values(storage_url: str) -> None:
    async with Romancy(storage_url, workflows=WORKFLOWS, codecs=Codecs(Masking())) as app:
        await app.run(parcel.options(instance_id="s-1"), Order("secret lamp"))
        sealed = Browser(asgi(app, auth=lambda _: Visitor("ann", payloads=False)))
        seeing = Browser(asgi(app, auth="local"))
        page = "/go-back/s-1?before=pack%3A2"

        fields = hidden(await seeing.get(page))
        assert "secret lamp" in (await seeing.get(page)).body.decode()
        assert 3 == len(await links(seeing, "/instances/s-1"))
        assert [] == await links(sealed, "/instances/s-1")
        sealed.cookies |= seeing.cookies
        for each in (page, f"{page}&as=rewind&undo=keep", "/go-back/s-1?before=x"):
            for shown in (await sealed.get(each), await sealed.post(each, fields)):
                assert 403 == shown.status
                assert not [one for one in ("secret", "pack:1") if one in shown.body.decode()]
        assert 1 == int(await app.count())
        assert 303 == (await confirm(seeing, page, id="s-2")).status
        assert "secret lamp" == await app.handle("s-2").result(timeout=60)


async def test_without_codecs_a_visitor_without_payloads_goes_back(app: Romancy) -> None:
    browser = Browser(asgi(app, auth=lambda _: Visitor("ann", payloads=False)))

    assert 303 == (await confirm(browser, BACK, id="f-1")).status
    assert "lamp" == await app.handle("f-1").result(timeout=60)


async def test_hostile_names_and_ids_are_text(storage_url: str) -> None:
    @workflow(name=EVIL)
    async def named(ctx: WorkflowContext) -> None:
        await ctx.wait_event(EVIL)

    async with Romancy(storage_url, workflows=[named]) as app:
        browser = Browser(asgi(app, auth="local"))
        for instance_id in (EVIL, "..", "a/../b"):
            await app.start(named.options(instance_id=instance_id))
            await status_is(app, instance_id, Status.WAITING)
            asked = "/instance?id=" if ".." in instance_id else "/instances/"
            (link,) = await links(browser, f"{asked}{quote(instance_id, safe='')}")
            assert not {".", ".."} & set(link.partition("?")[0].split("/"))
            shown = await browser.get(link)
            assert 200 == shown.status, browser.text(shown)
            assert not [one for one in INERT if one in seen(shown)]
            assert 303 == (await confirm(browser, link, id=f"f{instance_id}")).status
