"""Rows that are chosen while the list changes, and the box for everything, in Chromium.

The pictures are written to build/dashboard.
"""

from __future__ import annotations

import asyncio
import re
import threading
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import sync_playwright

from romancy import Romancy, WorkflowContext, workflow
from tests.dashboard.chromium import ARGUMENTS, PICTURES, check, chromium
from tests.dashboard.serving import serving_beside

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]


@workflow(index=["customer"])
async def place_order(ctx: WorkflowContext, customer: str, city: str) -> Any:
    return (await ctx.wait_event("paid")).data


async def fill(app: Romancy) -> None:
    for number in range(12):
        await app.start(place_order.options(instance_id=f"order-{number:02}"), f"customer-{number % 3}", "Oslo")


def test_rows_are_chosen_in_a_browser(tmp_path: Path) -> None:
    executable = chromium()
    PICTURES.mkdir(parents=True, exist_ok=True)
    url = f"sqlite:///{tmp_path}/shop.db"
    app = Romancy(url, workflows=[place_order])

    async def one_more() -> None:
        async with Romancy(url, workflows=[place_order], worker=False) as starter:
            await starter.start(place_order.options(instance_id="order-99"), "customer-1", "Oslo")

    with serving_beside(app, fill) as port, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=list(ARGUMENTS))
        page = browser.new_context(viewport={"width": 1400, "height": 860}).new_page()
        page.goto(f"http://127.0.0.1:{port}/instances")
        page.get_by_text("live", exact=True).wait_for()
        for one in ("order-03", "order-07"):
            page.get_by_label(f"Choose {one}").check()
        beside = threading.Thread(target=lambda: asyncio.run(one_more()))  # the browser has this thread's loop
        beside.start()
        beside.join()
        page.get_by_role("link", name="order-99").wait_for()  # the open list hears of it
        assert ["order-07", "order-03"] == [
            box.get_attribute("value") for box in page.locator('input[name="chosen"]:checked').all()
        ]
        check(page, "instances-chosen")
        page.get_by_role("button", name="Cancel …").click()
        page.get_by_role("heading", name="Cancel 2 instances?").wait_for()
        check(page, "bulk-chosen")
        page.get_by_role("button", name="Cancel 2 instances").click()
        page.get_by_role("heading", name="Cancel 2 instances").wait_for()
        page.get_by_role("link", name="Show them").click()
        page.get_by_role("link", name="order-03").wait_for()
        assert 2 == page.locator("#list tbody tr").count()
        check(page, "instances-of-a-job")
        page.goto(f"http://127.0.0.1:{port}/instances")
        page.get_by_label("Choose all of this page").check()
        assert page.locator("#list tbody tr").count() == page.locator('input[name="chosen"]:checked').count()

        page.get_by_label("Find an instance").fill("customer-1")
        page.keyboard.press("Enter")
        page.get_by_role("heading", name=re.compile("Instances with")).wait_for()
        page.get_by_role("heading", name="In the input, at customer").wait_for()
        check(page, "search")
        page.get_by_label("Find an instance").fill("order-05")
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="order-05").wait_for()
        browser.close()
