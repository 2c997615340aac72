"""The dashboard in Chromium: pages, search, keyboard, colours, live updates, and nothing from another host.

The pictures are written to build/dashboard.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import pytest
from playwright.sync_api import sync_playwright

from romancy import Romancy
from tests.dashboard.chromium import ARGUMENTS, PICTURES, check, chromium
from tests.dashboard.news_shop import HOSTILE, place_order, send_news
from tools.tree import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from playwright.sync_api import Page

    Look = Callable[[Page, str], None]

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

SHOP: Final = """
from tests.dashboard.news_shop import place_order, send_news
from romancy import Romancy
import os
app = Romancy(os.environ["SHOP_URL"], workflows=[place_order, send_news], worker_id="worker-1")
"""


async def fill(url: str) -> None:
    """Make instances as a shop has them, and some that attack whoever looks at them."""
    cities = ("Paris", "Lisbon", "Oslo", "Graz", "Utrecht", HOSTILE)
    modes = ("ok", "ok", "wait", "ok", "fail", "ok", "ok")
    async with Romancy(url, workflows=[place_order, send_news], worker_id="worker-1") as app:
        for number in range(70):
            customer = {"name": "Ada" if number % 2 else "Grace", "city": cities[number % 6]}
            order = place_order.options(instance_id=f"order-{10_400 + number}")
            await app.start(order, customer, number * 1.5, modes[number % 7])
            if number % 3 == 0:
                await app.start(send_news.options(instance_id=f"news-{number}"), number)
        attack = place_order.options(instance_id=f"x/../{HOSTILE}")
        await app.start(attack, {"name": HOSTILE, "city": "x" * 2_000_000}, 1.0, "wait")
        deep = place_order.options(instance_id="..")
        await app.start(deep, {"name": "deep", "city": "[" * 5000}, 1.0, "wait")
        await app.handle("order-10469").result()


@contextmanager
def dashboard(folder: Path, url: str) -> Generator[str]:
    """`romancy ui` as its user runs it, and the link that it has printed."""
    (folder / "shop.py").write_text(SHOP)
    command = [sys.executable, "-m", "romancy", "ui", "shop:app", "--port", "0"]
    environment = {"PYTHONPATH": f"{folder}:{ROOT}", "SHOP_URL": url, "PATH": "/usr/bin:/bin"}
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield server.stdout.readline().strip()
        finally:
            server.terminate()
            server.wait(30)


def in_thread(work: object) -> None:
    """Run a coroutine to its end beside the browser's own loop."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(work)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType] - a coroutine
        except BaseException as error:  # noqa: BLE001 - raised again below
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]


async def begin(url: str) -> None:
    async with Romancy(url, workflows=[place_order, send_news], worker=False) as app:
        await app.start(send_news.options(instance_id="breaking-news"), 99)


def pass_by(page: Page, name: str) -> None:
    """Do not look: the page is the same on every database."""


def test_the_dashboard_in_a_browser(tmp_path: Path, storage_url: str, backend: str) -> None:
    if backend == "memory":
        pytest.skip("capability: another process cannot see memory://")
    executable = chromium()
    in_thread(fill(storage_url))
    PICTURES.mkdir(parents=True, exist_ok=True)
    asked: list[str] = []
    faults: list[str] = []
    with dashboard(tmp_path, storage_url) as link, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=list(ARGUMENTS))
        page = browser.new_context(viewport={"width": 1280, "height": 860}).new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("dialog", lambda dialog: faults.append(dialog.message))
        page.on("console", lambda message: faults.append(message.text) if "Policy" in message.text else None)
        base = link.partition("/?")[0]
        look = check if backend == "sqlite" else pass_by

        page.goto(link)
        page.get_by_role("heading", name="Overview").wait_for()
        assert "token" not in page.url
        look(page, "overview")

        look_at_the_list(page, base, look)
        use_the_keyboard(page, base)
        hear_of_news(page, base, storage_url)
        be_attacked(page, base)
        act(page, base, look)
        browser.close()

    assert [] == [url for url in asked if not url.startswith((base, "data:"))]
    assert [] == faults


def look_at_the_list(page: Page, base: str, look: Look) -> None:
    page.get_by_role("link", name="Instances").click()
    page.get_by_role("button", name="Search").wait_for()
    assert 50 == page.locator("#list tbody tr").count()
    look(page, "instances")
    page.get_by_role("link", name="Older").click()
    page.get_by_role("link", name="Newest").wait_for()
    page.goto(f"{base}/instances")
    page.get_by_label("failed").check()
    page.get_by_text("By input, error, parent").click()
    page.locator("input[name=where]").first.fill("customer.city=Oslo")
    page.get_by_role("button", name="Search").click()
    page.wait_for_url("**/instances?status=failed&where=customer.city%3DOslo")
    assert 0 < page.locator("#list tbody tr").count() < 10
    look(page, "search")


def use_the_keyboard(page: Page, base: str) -> None:
    page.goto(f"{base}/instances?id=order-10469")
    page.keyboard.press("Tab")
    assert "Skip to the content" == page.evaluate("document.activeElement.textContent")
    page.keyboard.press("Enter")
    assert "main" == page.evaluate("document.activeElement.id")
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "order-10469":
            break
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="order-10469").wait_for()
    page.wait_for_load_state()  # a script gives the button its meaning, and runs after the page is shown
    page.emulate_media(color_scheme="light")
    page.get_by_role("button", name="Switch between light and dark").press("Enter")
    assert "dark" == page.evaluate("document.documentElement.dataset.theme")
    page.reload()
    assert "dark" == page.evaluate("document.documentElement.dataset.theme")
    page.get_by_role("button", name="Switch between light and dark").press("Enter")
    page.evaluate("delete document.documentElement.dataset.theme, localStorage.clear()")


def hear_of_news(page: Page, base: str, url: str) -> None:
    page.goto(f"{base}/instances?id=news")
    page.get_by_text("live", exact=True).wait_for()
    page.get_by_role("link", name="news-69").focus()
    in_thread(begin(url))
    page.get_by_role("link", name="breaking-news").wait_for()
    assert "news-69" == page.evaluate("document.activeElement.textContent")


def be_attacked(page: Page, base: str) -> None:
    page.goto(f"{base}/instances?id=x/..")
    page.locator("#list a.id").click()
    page.locator("h1").wait_for()
    assert "owned" not in page.title().removeprefix(page.locator("h1").inner_text())
    assert 0 == page.locator("main script, main img").count()
    page.goto(f"{base}/instances?workflow=place&status=waiting")
    page.get_by_role("link", name="..", exact=True).click()
    assert ".." == page.locator("h1").inner_text()


def act(page: Page, base: str, look: Look) -> None:
    page.goto(f"{base}/instances?workflow=place&status=waiting&id=order")
    page.locator("#list a.id").first.click()
    page.get_by_role("link", name="Signal").click()
    assert "paid" == page.get_by_label("Event").input_value()
    look(page, "signal")
    page.get_by_role("button", name="Signal").click()
    page.get_by_text("The event was sent.").wait_for()
    page.goto(f"{base}/start?workflow=place_order")
    page.get_by_label("mode").fill("ok")
    page.get_by_label("total").fill("12.5")
    page.get_by_label("customer").fill('{"name": "Ken"}')
    page.get_by_label("Instance id").fill("order-by-hand")
    look(page, "start")
    page.get_by_role("button", name="Start").click()
    page.get_by_role("heading", name="order-by-hand").wait_for()
