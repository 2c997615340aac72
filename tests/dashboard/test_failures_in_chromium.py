"""The pages of failures in Chromium: in both colours and on a phone, and a group that is silenced.

The pictures are written to build/dashboard.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import sync_playwright

from romancy import Romancy, WorkflowContext, WorkflowFailedError, workflow
from tests.dashboard.chromium import ARGUMENTS, PICTURES, check, chromium
from tests.dashboard.serving import serving_beside

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

CAUSES = (
    "card {} of 'Ann {}' was declined by the bank, which says: insufficient funds, try again in {} days",
    "no route to 192.0.2.{}:443",
    "{}",
)


@workflow
async def place_order(ctx: WorkflowContext, number: int) -> None:
    raise LookupError(CAUSES[number % 3].format(number, number, number))


async def fill(app: Romancy) -> None:
    for number in range(9):
        handle = await app.start(place_order.options(instance_id=f"order-{number}"), number)
        with pytest.raises(WorkflowFailedError):
            await handle.result(timeout=60)


def test_failures_in_a_browser(tmp_path: Path) -> None:
    executable = chromium()
    PICTURES.mkdir(parents=True, exist_ok=True)
    app = Romancy(f"sqlite:///{tmp_path}/shop.db", workflows=[place_order])
    with serving_beside(app, fill) as port, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=list(ARGUMENTS))
        page = browser.new_context(viewport={"width": 1400, "height": 900}).new_page()
        page.goto(f"http://127.0.0.1:{port}/")
        page.get_by_role("heading", name="Causes of failures").wait_for()
        check(page, "overview-with-failures")
        page.get_by_role("link", name="All failures").click()
        page.get_by_role("heading", name="Failures").wait_for()
        assert 3 == page.locator("#list tbody tr").count()
        check(page, "failures")
        page.locator("#list tbody tr").last.get_by_role("link", name="Silence").click()
        page.get_by_label("Reason").fill("issue 42")
        check(page, "failures-silence")
        page.get_by_role("button", name="Silence").click()
        page.get_by_text("The group is silenced.").wait_for()
        assert 2 == page.locator("#list tbody tr").count()
        page.get_by_role("link", name="With silenced groups").click()
        page.get_by_role("link", name="Unsilence").wait_for()
        page.locator("#list tbody tr").first.get_by_role("link").first.click()
        page.get_by_role("link", name="order-8").wait_for()
        assert 3 == page.locator("#list tbody tr").count()
        browser.close()
