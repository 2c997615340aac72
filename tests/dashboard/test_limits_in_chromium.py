"""The pages of limits in Chromium: in both colours and on a phone, a limit that is changed, and a place that is freed.

The pictures are written to build/dashboard.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import sync_playwright

from romancy import EventType, Limit, Romancy, WorkflowContext, workflow
from romancy.core import PlaceAsked, PlaceGranted
from romancy_conformance.behaviour.waiting import until
from tests.dashboard.chromium import ARGUMENTS, PICTURES, check, chromium
from tests.dashboard.serving import serving_beside

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

GO = EventType("go", str)


@workflow(limits=[Limit("orders of a customer", key="customer", concurrency=1)])
async def place_order(ctx: WorkflowContext, customer: str) -> str:
    return (await ctx.wait_event(GO)).data


@workflow(limits=[Limit("bank", concurrency=10, rate=(100, 60))])
async def charge_card(ctx: WorkflowContext, number: int) -> str:
    return (await ctx.wait_event(GO)).data


async def fill(app: Romancy) -> None:
    for number, customer in enumerate(("ann@example.com", "bob@example.com")):
        for place in range(3 - number):
            handle = await app.start(place_order.options(instance_id=f"order-{number}-{place}"), customer)

            wanted = PlaceAsked if place else PlaceGranted

            async def there(instance_id: str = handle.instance_id, wanted: type = wanted) -> bool:
                return any(isinstance(event, wanted) for event in await app.history(instance_id))

            await until(there)
    for number in range(4):
        await app.start(charge_card, number)
    await app.pause_limit("printer on the second floor")


def test_limits_in_a_browser(tmp_path: Path) -> None:
    executable = chromium()
    PICTURES.mkdir(parents=True, exist_ok=True)
    app = Romancy(f"sqlite:///{tmp_path}/shop.db", workflows=[place_order, charge_card])
    with serving_beside(app, fill) as port, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=list(ARGUMENTS))
        page = browser.new_context(viewport={"width": 1280, "height": 860}).new_page()
        page.goto(f"http://127.0.0.1:{port}/")
        page.get_by_role("link", name="Limits").click()
        page.get_by_role("link", name="printer on the second floor").wait_for()
        assert 4 == page.locator("#list tbody tr").count()
        check(page, "limits")
        page.get_by_role("link", name="ann@example.com").click()
        page.get_by_role("heading", name="ann@example.com").wait_for()
        check(page, "lane")
        page.get_by_role("link", name="order-0-1").click()
        page.get_by_text("0 before it in line").wait_for()
        check(page, "instance-in-line")
        page.get_by_role("link", name="orders of a customer ann@example.com").click()
        page.get_by_role("link", name="Change").click()
        page.get_by_label("At once").fill("2")
        check(page, "limit-change")
        page.get_by_role("button", name="Change").click()
        page.get_by_text("These numbers hold from now on.").wait_for()
        page.get_by_role("row", name="ann@example.com 2 of 2").wait_for()  # the open page hears of it
        check(page, "limit")
        page.get_by_role("link", name="ann@example.com").click()
        page.get_by_role("link", name="Free the places of order-0-0").click()
        check(page, "free")
        page.get_by_role("button", name="Free").click()
        page.get_by_text("Its places were given back.").wait_for()
        browser.close()
