"""What strangers have sent is shown as text: markup, directions of text, controls, and much of it."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from romancy import Romancy, TerminalError, WorkflowContext, workflow
from romancy.dashboard import asgi
from romancy.errors import WorkflowFailedError
from tests.dashboard.browsing import Browser

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

pytestmark = pytest.mark.anyio

MARKUP = """<script>alert(1)</script><img src=x onerror=alert(2)>"'`--><svg/onload=alert(3)>{{7*7}}{% raw %}"""
PAGES = (
    "/", "/instances", "/instances/{}", "/act/signal/{}", "/act/purge/{}", "/instances?id={}&where=a%3D{}",
    "/go-back/{}?before={}", "/go-back/{}?at=1&as=rewind",
)  # fmt: skip


@workflow
async def fail(ctx: WorkflowContext, text: Any) -> str:
    raise TerminalError(str(text)[:5000])


@workflow(name=MARKUP[:200])
async def named(ctx: WorkflowContext, text: Any) -> Any:
    return (await ctx.wait_event(MARKUP[:200])).data


@pytest.fixture
async def app() -> AsyncGenerator[Romancy]:
    async with Romancy("memory://", workflows=[fail, named], log_error_text=False) as app:
        yield app


async def shown(app: Romancy, instance_id: str) -> str:
    """All pages that show the instance."""
    browser = Browser(asgi(app, auth="local"))
    texts: list[str] = []
    for page in PAGES:
        answer = await browser.get(page.replace("{}", quote(instance_id, safe="")))
        assert answer.status in (200, 400, 409), page
        texts.append(answer.body.decode())
    return "\n".join(texts)


@pytest.mark.parametrize(
    "text",
    [MARKUP, "a\u202eb\u2066c\u200fd", "a\0b\x07c\x1b[31md\x7f", "\ud7ff\ue000\uffff", "x" * 2_000_000, "[" * 100_000],
    ids=["markup", "directions", "controls", "odd", "much", "deep"],
)
async def test_hostile_text_is_shown_as_text(app: Romancy, text: str) -> None:
    instance_id = (text.replace("\0", "") or "none")[:120]
    failed = await app.start(fail.options(instance_id=instance_id), text)
    with pytest.raises(WorkflowFailedError):
        await failed.result()
    await app.start(named.options(instance_id=f"n{instance_id}"), {"text": text})

    pages = await shown(app, instance_id) + await shown(app, f"n{instance_id}")

    assert "<script>alert" not in pages
    assert "<img" not in pages
    assert "<svg/onload" not in pages
    assert 'value="<' not in pages
    assert "{{7*7}}" in pages  # of the name of the workflow: nobody has worked it out
    seen = re.sub(r'value="[^"]*"', "", pages)  # a form gives back what was typed
    assert not set("\0\x07\x1b\u202e\u2066\u200f") & set(seen)
    assert len(pages) < 2_000_000


@pytest.mark.parametrize(
    "id", [".", "..", "a/../b", "a//b", "%2e%2e", "a?b#c", " ", "a\\b", "ä/ö", "cancel/x", "x" * 255]
)
async def test_any_id_has_its_page(app: Romancy, id: str) -> None:
    await app.start(named.options(instance_id=id), 1)
    browser = Browser(asgi(app, auth="local"))

    listed = (await browser.get("/instances")).body.decode()
    (link,) = re.findall(r'<a class="id"[^>]* href="([^"]+)"', listed)
    page = await browser.get(html.unescape(link))

    assert 200 == page.status
    assert f"<bdi>{html.escape(id).replace('&#x27;', '&#39;')}</bdi>" in page.body.decode()
    assert not {".", ".."} & set(link.partition("?")[0].split("/"))
    signal = re.search(r'href="([^"]*/act/signal[^"]*)"', page.body.decode())
    assert signal is not None
    assert 200 == (await browser.get(html.unescape(signal[1]))).status
