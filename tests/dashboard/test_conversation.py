"""The conversation of an instance: turns, tools, agents within agents, questions, and answers of other frameworks."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import sync_playwright

from romancy import Codecs, Romancy
from romancy.dashboard import Visitor, asgi
from romancy_conformance.behaviour.coded import Masking
from tests.dashboard.browsing import Browser
from tests.dashboard.chromium import ARGUMENTS, PICTURES, check, chromium
from tests.dashboard.serving import serving_beside
from tests.dashboard.talking import MARKUP, lone_model, talks, talks_long

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

pytestmark = pytest.mark.anyio
WORKFLOWS: Any = [talks, talks_long, lone_model]


@pytest.fixture
async def app() -> AsyncGenerator[Romancy]:
    async with Romancy("memory://", workflows=WORKFLOWS) as app:
        yield app


async def asked(app: Romancy) -> str:
    """The token of the open question, once it is asked."""
    while not (found := (await app.questions()).questions):
        pass
    return found[0].token


async def test_turns_tools_and_an_agent_within_an_agent(app: Romancy) -> None:
    handle = await app.start(talks, f"a weekend {MARKUP}")
    token = await asked(app)
    browser = Browser(asgi(app, auth=lambda _: "ann"))
    page = f"/instances/{handle.instance_id}?view=conversation"
    shown = await browser.get(page)
    body, text = shown.body.decode(), browser.text(shown)
    assert "<script>alert" not in body
    assert "system Be brief." in text
    assert "user a weekend" in text
    assert "3 model requests, 3,000 tokens in, 60 out, cost 0.0375" in text
    assert "traveller function:plans:" in text
    assert re.search(r"<details class=\"one\"><summary>Reasoning</summary><p class=\"said\">They want to travel", body)
    assert re.search(r"tool weather .*? 2 attempts .*?arguments .*?Rome.*?sun in Rome", text)
    assert "the weather hung up" in text
    assert re.search(r"turn-turn depth-1\".*?guide", body, re.DOTALL)
    assert "May book be called with" in text

    answered = await browser.submit(page, {"in-answer": "true", "verb": "answer"}, to=f"/question/{token}")
    assert answered.status in (303, 400), browser.text(answered)
    if answered.status == 400:
        await app.answer(token, data=True)
    await handle.result()
    text = browser.text(await browser.get(page))
    assert "a room in Rome" in text
    assert "4 model requests" in text
    assert "May book be called" not in text.partition("Asked")[2]


async def test_who_may_not_answer_sees_no_form(app: Romancy) -> None:
    handle = await app.start(talks, "a weekend")
    await asked(app)
    browser = Browser(asgi(app, auth=lambda _: Visitor("ann", actions=False)))
    body = (await browser.get(f"/instances/{handle.instance_id}?view=conversation")).body.decode()
    assert "traveller" in body
    assert 'name="verb"' not in body


async def test_payloads_that_are_sealed_stay_so(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/sealed.db"
    async with Romancy(url, workflows=WORKFLOWS, codecs=Codecs(Masking())) as app:
        handle = await app.start(lone_model, {"parts": [{"content": "secret"}]}, {"agent": "a", "model": "m"})
        await handle.result()
        dashboard = asgi(url, auth=lambda _: "ann")
        shown = await Browser(dashboard).get(f"/instances/{handle.instance_id}?view=conversation")
        await dashboard.close()
    assert "secret" not in shown.body.decode()
    assert "sealed" in Browser.text(shown)


@pytest.mark.long
async def test_five_hundred_steps_are_paged(app: Romancy) -> None:
    handle = await app.start(talks_long)
    await handle.result()
    browser = Browser(asgi(app, auth=lambda _: "ann"))
    page, places, seen = f"/instances/{handle.instance_id}?view=conversation", 0, 0
    target: str | None = page
    while target is not None:
        body = (await browser.get(target)).body.decode()
        assert len(body) < 600_000
        seen += body.count('class="turn turn-turn')
        places += 1
        following = re.search(r'<a class="button" href="([^"]+)">Next</a>', body)
        target = None if following is None else following[1].replace("&amp;", "&")
    assert seen == 500
    assert places == 10


ANSWERS: list[tuple[Any, list[str]]] = [
    (
        {"result": {"$": "object", "of": "x:ModelResponse", "fields": {"result": [{
            "$": "message", "type": "ai", "data": {
                "content": [{"type": "reasoning", "reasoning": "hm"}, {"type": "text", "text": "the text"}],
                "tool_calls": [{"name": "look", "args": {"city": "Rome"}, "id": "1"}],
                "usage_metadata": {"input_tokens": 5, "output_tokens": 6},
                "response_metadata": {"model_name": "lc-1"}}}]}}},
        ["the text", "look", "5 + 6 tokens", "lc-1", "hm"],
    ),
    (
        {"output": [
            {"type": "reasoning", "summary": [{"text": "hm"}]},
            {"type": "message", "content": [{"type": "output_text", "text": "the text"}]},
            {"type": "function_call", "name": "look", "arguments": '{"city":"Rome"}', "call_id": "1"}],
         "usage": {"input_tokens": 5, "output_tokens": 6}},
        ["the text", "look", "5 + 6 tokens", "hm"],
    ),
    ("plain words", ["plain words"]),
    ({"parts": [1, {"part_kind": "tool-call"}, {"content": ["x"]}], "usage": 3}, ["?"]),
    ({"parts": None, "output": {"a": []}}, ["parts"]),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "words"), ANSWERS)
async def test_answers_of_other_frameworks_and_of_none(app: Romancy, answer: Any, words: list[str]) -> None:
    handle = await app.start(lone_model, answer, {"agent": "a", "model": "m", "prompts": [["user"], 3, []]})
    await handle.result()
    browser = Browser(asgi(app, auth=lambda _: "ann"))
    shown = await browser.get(f"/instances/{handle.instance_id}?view=conversation")
    assert shown.status == 200
    for word in words:
        assert word in browser.text(shown)


async def fill(app: Romancy) -> None:
    await app.start(talks.options(instance_id="travel-1"), "A weekend in Rome, please: by train, and not too dear.")
    await asked(app)


@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_conversation_in_a_browser(tmp_path: Path) -> None:
    executable = chromium()
    PICTURES.mkdir(parents=True, exist_ok=True)
    app = Romancy(f"sqlite:///{tmp_path}/talk.db", workflows=WORKFLOWS)
    with serving_beside(app, fill) as port, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=list(ARGUMENTS))
        page = browser.new_context(viewport={"width": 1400, "height": 1400}).new_page()
        page.goto(f"http://127.0.0.1:{port}/instances/travel-1?view=conversation")
        page.get_by_role("heading", name="Conversation").wait_for()
        page.get_by_text("Reasoning").first.click()
        page.get_by_text("They want to travel").wait_for()
        check(page, "conversation")
        page.set_viewport_size({"width": 1400, "height": 1400})
        page.locator(".asked-here form").get_by_role("combobox").select_option("true")
        page.locator(".asked-here").get_by_role("button", name="Answer").click()
        page.get_by_text("question").first.wait_for()
        page.goto(f"http://127.0.0.1:{port}/instances/travel-1?view=conversation")
        page.get_by_text("a room in Rome").first.wait_for()
        browser.close()
