"""The pages of failures, on every database: what they show, what they do, and for whom."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from romancy import Romancy, WorkflowContext, WorkflowFailedError, workflow
from romancy.dashboard import Visitor, asgi
from tests.dashboard.browsing import Browser

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

pytestmark = pytest.mark.anyio

LOG = "romancy.dashboard.audit"
MARKUP = "<script>alert(1)</script>\u202e"


@workflow
async def page_failing(ctx: WorkflowContext, number: int) -> None:
    raise LookupError(f"{MARKUP} of order {number}")


@pytest.fixture
async def app(storage_url: str) -> AsyncGenerator[Romancy]:
    async with Romancy(storage_url, workflows=[page_failing]) as app:
        yield app


async def fail(app: Romancy, *numbers: int) -> str:
    for number in numbers:
        handle = await app.start(page_failing.options(instance_id=f"p-{number}"), number)
        with pytest.raises(WorkflowFailedError):
            await handle.result(timeout=30)
    return (await app.failures(silenced=True)).groups[0].group


async def test_the_list_and_the_overview_have_causes_and_lead_to_instances(app: Romancy) -> None:
    browser = Browser(asgi(app, auth="local"))
    assert "No instance has failed" in browser.text(await browser.get("/failures"))
    assert "Causes of failures" not in browser.text(await browser.get("/"))
    group = await fail(app, 1, 2)

    for target in ("/failures", "/"):
        page = await browser.get(target)
        assert "<script>alert" not in page.body.decode()
        assert "2 failed LookupError: <script>alert(…)</script> of order … page_failing" in browser.text(page), target
        assert f'href="/instances?error={group}"' in page.body.decode()
    part = (await browser.get("/failures", hx_request="true")).body.decode()
    assert ("<html" in part, 'id="list"' in part) == (False, True)
    listed = browser.text(await browser.get(f"/instances?error={group}"))
    assert ("p-1" in listed, "p-2" in listed) == (True, True)
    listed = browser.text(await browser.get("/instances?error=of+order+2"))
    assert ("p-1" in listed, "p-2" in listed) == (False, True)


async def test_a_group_is_silenced_after_a_question(app: Romancy, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, LOG)
    browser = Browser(asgi(app, auth="local"))
    group = await fail(app, 1)
    target = f"/failures/silence?group={group}"
    assert target in (await browser.get("/failures")).body.decode()
    answer = await browser.submit(target, {"reason": "issue 42"})
    assert answer.status == 303
    assert "apart from silenced groups" in browser.text(await browser.get("/failures"))
    assert "Causes of failures" not in browser.text(await browser.get("/"))
    everything = await browser.get("/failures?all=1")
    assert "silenced" in browser.text(everything)
    back = f"/failures/unsilence?group={group}"
    assert back in everything.body.decode()
    assert "issue 42" in browser.text(await browser.get(back))
    await browser.submit(back, {})
    assert "LookupError" in browser.text(await browser.get("/failures"))
    assert any(f"silence failures '{group}': done" in one for one in caplog.messages)


async def test_what_a_visitor_may_not_do_is_neither_offered_nor_done(app: Romancy) -> None:
    group = await fail(app, 1)
    target = f"/failures/silence?group={group}"
    others = (
        Browser(asgi(app, auth="local", read_only=True)),
        Browser(asgi(app, auth=lambda _: Visitor("ann", actions={"limits"}))),
    )
    for browser in others:
        assert target not in (await browser.get("/failures")).body.decode()
        assert (await browser.get(target)).status == 403
    browser = Browser(asgi(app, auth="local"))
    assert (await browser.post(target, {"csrf": "forged"})).status == 403
    wrong = ("/failures/burn", f"/failures/burn?group={group}", "/failures/silence", "/failures/silence?group=f-1")
    for one in (*wrong, "/failures/silence?group=f-000000000000"):
        assert (await browser.get(one)).status == 404, one
