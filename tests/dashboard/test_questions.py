"""The inbox: what it lists, its forms, who answers, and for whom it is."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import async_playwright

from romancy import Codecs, Romancy
from romancy.dashboard import Visitor, asgi
from romancy_conformance.behaviour.coded import Masking
from tests.dashboard.asking import asks_for_a_trip, asks_to_pay
from tests.dashboard.browsing import Browser
from tests.dashboard.chromium import ARGUMENTS, chromium
from tests.dashboard.serving import serving

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from romancy import Question

pytestmark = pytest.mark.anyio

LIMIT = 30


@pytest.fixture
async def app() -> AsyncGenerator[Romancy]:
    async with Romancy("memory://", workflows=[asks_for_a_trip, asks_to_pay]) as app:
        yield app


async def open_ones(app: Romancy, count: int = 1) -> list[Question]:
    while len(found := (await app.questions()).questions) < count:
        pass
    return found


async def test_the_inbox_lists_and_a_form_answers(app: Romancy, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "romancy.dashboard.audit")
    browser = Browser(asgi(app, auth=lambda _: "ann"))
    assert "No workflow asks anything." in browser.text(await browser.get("/questions"))
    trip, pay = await app.start(asks_for_a_trip), await app.start(asks_to_pay, 5)
    first, second = await open_ones(app, 2)
    page = await browser.get("/questions")
    assert "<script>alert" not in page.body.decode()
    assert "Pay 5 €" in browser.text(page)
    assert "Pay 5 €" not in browser.text(await browser.get("/questions?to=ann"))

    form = (await browser.get(f"/question/{first.token}")).body.decode()
    assert 'name="in-days"' in form
    assert '<option value="&#34;train&#34;">' in form
    fields = {"in-days": "three", "in-by": '"train"', "in-note": "", "in-night": "true", "verb": "answer"}
    refused = await browser.submit(f"/question/{first.token}", fields)
    assert (refused.status, "is no JSON" in browser.text(refused)) == (409, True) or refused.status == 400
    assert (await browser.submit(f"/question/{first.token}", {**fields, "in-days": "3"})).status == 303
    assert await trip.result(LIMIT) == "Trip(days=3, by='train', note=None, night=True)"
    late = await browser.get(f"/question/{first.token}")
    assert (late.status, "answered by ann" in browser.text(late)) == (409, True)

    assert (await browser.submit(f"/question/{second.token}", {"verb": "refuse", "reason": "no"})).status == 303
    assert await pay.result(LIMIT) == "refused by ann: no"
    assert "The question was refused." in browser.text(await browser.get("/questions?done=question-refuse"))
    assert f"'ann': answer 'trip of {trip.instance_id}': done" in caplog.text
    assert first.token not in caplog.text
    assert (await browser.get("/question/x.y")).status == 404


async def test_who_may_not_answer_sees_no_token(app: Romancy) -> None:
    await app.start(asks_to_pay, 5)
    (question,) = await open_ones(app)
    for shown in (
        asgi(app, auth=lambda _: Visitor("eve", actions={"signal"})),
        asgi(app, auth="local", read_only=True),
    ):
        browser = Browser(shown)
        assert [(await browser.get(page)).status for page in ("/questions", f"/question/{question.token}")] == [
            403,
            403,
        ]
        assert "/questions" not in (await browser.get("/instances")).body.decode()


async def test_who_sees_no_payloads_sees_that_there_is_a_question() -> None:
    async with Romancy("memory://", workflows=[asks_to_pay], codecs=Codecs(Masking())) as app:
        await app.start(asks_to_pay, 5)
        (question,) = await open_ones(app)
        browser = Browser(asgi(app, auth=lambda _: Visitor("eve", payloads=False)))
        text = browser.text(await browser.get("/questions"))
        assert ("sealed" in text, "Pay 5" in text) == (True, False)
        page = await browser.get(f"/question/{question.token}")
        assert ("is sealed by a codec" in browser.text(page), "<button type" in page.body.decode()) == (True, True)
        assert 'name="in-answer"' not in page.body.decode()


@pytest.mark.long
@pytest.mark.parametrize("width", [1400, 390])
async def test_the_forms_fit_a_screen_and_a_phone(app: Romancy, width: int) -> None:
    await app.start(asks_for_a_trip)
    pay = await app.start(asks_to_pay, 5)
    trip, second = await open_ones(app, 2)
    shown: Any = asgi(app, auth="local")
    async with serving(shown) as port, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium(), args=list(ARGUMENTS))
        page = await browser.new_page(viewport={"width": width, "height": 900})
        for name, target in (("list", "/questions"), ("form", f"/question/{trip.token}")):
            await page.goto(f"http://127.0.0.1:{port}{target}")
            found = await Axe().run(page, options={"resultTypes": ["violations"]})
            assert found.violations_count == 0, found.generate_report()
            assert await page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
            if "ROMANCY_SCREENSHOTS" in os.environ:
                await page.screenshot(path=Path(os.environ["ROMANCY_SCREENSHOTS"]) / f"questions-{name}-{width}.png")
        await page.goto(f"http://127.0.0.1:{port}/question/{second.token}")
        await page.get_by_label("answer").select_option("true")
        await page.get_by_role("button", name="Answer").click()
        await page.get_by_text("The answer was taken.").wait_for()
        assert await pay.result(LIMIT) == "True"
        await browser.close()
