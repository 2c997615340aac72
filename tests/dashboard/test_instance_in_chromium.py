"""The page of an instance in a real browser: zoom, travel, the picture and its table, a diff, on a phone, and axe."""

# Only the dashboard knows how often it looks.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import async_playwright

from romancy import Romancy, WorkflowContext, WorkflowFailedError, workflow
from romancy.dashboard import asgi
from romancy.dashboard._live import OpenPages
from tests.dashboard.chromium import ARGUMENTS, chromium
from tests.dashboard.serving import serving
from tests.dashboard.shopping import bill, shop

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from playwright.async_api import Browser, Page

pytestmark = [pytest.mark.anyio, pytest.mark.long]

VIEWS: Final = ("timeline", "graph", "family", "state&at=4.0", "log", "compare&with=lamp")


@pytest.fixture
async def site(tmp_path: Path) -> AsyncGenerator[str]:
    async with Romancy(f"sqlite:///{tmp_path / 'shop.db'}", workflows=[shop, bill]) as app:
        await (await app.start(shop.options(instance_id="lamp"), "lamp")).result(timeout=60)
        with pytest.raises(WorkflowFailedError):
            await (await app.start(shop.options(instance_id="lost"), "lost")).result(timeout=60)
        async with serving(asgi(app, auth="local")) as port:
            yield f"http://127.0.0.1:{port}"


@pytest.fixture
async def browser() -> AsyncGenerator[Browser]:
    executable = chromium()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=executable, args=list(ARGUMENTS))
        yield browser
        await browser.close()


class Visitor:
    """A page of the browser that notes what went wrong in it."""

    def __init__(self, page: Page, site: str) -> None:
        self.page = page
        self.site = site
        self.faults: list[str] = []
        page.on("console", lambda said: self.faults.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("request", lambda asked: None if asked.url.startswith(site) else self.faults.append(asked.url))

    async def go(self, target: str) -> Page:
        answer = await self.page.goto(f"{self.site}{target}")
        assert answer is not None
        assert 200 == answer.status
        return self.page

    async def look(self, name: str) -> None:
        """Keep a picture where the environment asks for it."""
        if "ROMANCY_SCREENSHOTS" in os.environ:
            await self.page.screenshot(path=Path(os.environ["ROMANCY_SCREENSHOTS"]) / f"{name}.png", full_page=True)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
async def test_no_view_has_a_fault_that_axe_finds(browser: Browser, site: str, scheme: Any, width: int) -> None:
    page = await browser.new_page(color_scheme=scheme, viewport={"width": width, "height": 900})
    visitor = Visitor(page, site)

    for view in VIEWS:
        await visitor.go(f"/instances/lost?view={view}")
        found = await Axe().run(page, options={"resultTypes": ["violations"]})
        assert 0 == found.violations_count, f"{view}: {found.generate_report()}"
        overflow = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert 0 == overflow, f"{view} is wider than the screen"
        await visitor.look(f"instance-{view.partition('&')[0]}-{scheme}-{width}")
    assert [] == visitor.faults


async def test_the_way_through_an_instance(browser: Browser, site: str) -> None:
    visitor = Visitor(await browser.new_page(), site)
    page = await visitor.go("/instances/lost")

    bars = page.locator(".tl-lane").filter(has=page.locator("title", has_text="charge:1")).locator("rect.b-failed")
    assert 1 == await bars.count(), "the failed attempt is a bar of its own"
    box = await bars.bounding_box()
    assert box is not None
    assert box["width"] > 1

    await page.get_by_role("link", name="Zoom in").click()
    assert "from=" in page.url
    await page.get_by_role("link", name="All", exact=True).click()
    assert "from=" not in page.url

    await page.get_by_role("list", name="Rows of the picture").get_by_role("link", name="ship:1").click()
    target = page.locator("tr:target")
    assert "ship:1" in await target.inner_text()
    told = page.locator("tr:target + tr details", has_text="error")
    assert "no address for lost" in await told.locator("summary").inner_text()
    await told.locator("summary").click()
    assert "no address for lost" in await told.locator("pre.error").inner_text()

    await page.get_by_role("link", name="Time travel").click()
    assert "As of event 1.0" in await page.locator("h2#state").inner_text()
    await page.get_by_role("link", name="Next").click()
    assert "charge:1" in await page.locator("section:has(> h2#outstanding)").inner_text()
    await page.get_by_role("link", name="Last").click()
    assert await page.get_by_role("link", name="Next").count() == 0

    await page.get_by_role("link", name="Compare").click()
    await page.get_by_label("Its id").fill("lamp")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**with=lamp**")
    assert "Their ways part at charge:1: input" in await page.locator("main").inner_text()
    assert 1 == await page.locator(".diff td.gone").count()
    assert [] == visitor.faults


async def test_the_pages_work_with_the_keyboard_and_without_scripts(browser: Browser, site: str) -> None:
    context = await browser.new_context(java_script_enabled=False)
    visitor = Visitor(await context.new_page(), site)
    page = await visitor.go("/instances/lamp")

    await page.get_by_role("link", name="Timeline").focus()
    await page.keyboard.press("Tab")  # to the conversation
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**view=graph**")
    assert "completed" in (await page.locator(".g-box", has_text="ship:1").text_content() or "")
    assert [] == visitor.faults


@workflow
async def two_waits(ctx: WorkflowContext, order: dict[str, Any]) -> str:
    await ctx.wait_event("first")
    return (await ctx.wait_event("second")).type


async def test_what_a_reader_has_opened_stays_open(tmp_path: Path, browser: Browser) -> None:
    async with Romancy(f"sqlite:///{tmp_path / 'shop.db'}", workflows=[two_waits]) as app:
        dashboard = asgi(app, auth="local")
        dashboard._live = OpenPages(every=0.05)
        given = {"lines": [{"sku": f"sku-{number}", "note": "x" * 90} for number in range(40)]}
        await app.start(two_waits.options(instance_id="open"), given)
        async with serving(dashboard) as port:
            page = await Visitor(await browser.new_page(), f"http://127.0.0.1:{port}").go("/instances/open")
            await page.wait_for_function("document.getElementById('live').textContent === 'live'")
            await page.locator("details.one > summary").first.click()
            await page.evaluate("document.querySelectorAll('details.j').forEach((one, at) => { one.open = at < 9; })")
            await page.evaluate("document.querySelectorAll('details.j > summary')[7].focus()")
            await page.evaluate("document.querySelector('.given').scrollTop = 30")
            opened = await page.evaluate("[...document.querySelectorAll('details')].map((each) => each.open)")

            await app.signal("open", "first", None)
            await page.get_by_text("second").first.wait_for()

            assert opened == await page.evaluate("[...document.querySelectorAll('details')].map((each) => each.open)")
            assert 30 == await page.evaluate("document.querySelector('.given').scrollTop")
            assert await page.evaluate("document.activeElement === document.querySelectorAll('details.j > summary')[7]")
            await app.cancel("open")


async def test_no_label_of_the_picture_is_cut(site: str, browser: Browser) -> None:
    page = await browser.new_page(viewport={"width": 1280, "height": 900})
    await page.goto(f"{site}/instances/lamp")
    outside = await page.evaluate(
        """() => {
          const plot = document.querySelector(".tl-plot").getBoundingClientRect();
          return [...document.querySelectorAll(".tl-took")]
            .map((text) => [text.textContent, text.getBoundingClientRect()])
            .filter(([, box]) => box.left < plot.left || box.right > plot.right)
            .map(([text]) => text);
        }"""
    )
    assert [] == outside
    await page.close()
