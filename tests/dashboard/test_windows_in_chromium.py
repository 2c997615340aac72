"""The page of a window in Chromium: in both colours and on a phone.

The pictures are written to build/dashboard.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import sync_playwright

from romancy import Romancy, WorkflowContext, workflow
from tests.dashboard.chromium import ARGUMENTS, PICTURES, check, chromium
from tests.dashboard.serving import serving_beside

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]


@workflow
async def store_rows(ctx: WorkflowContext, rows: list[str]) -> int:
    return len(rows)


async def fill(app: Romancy) -> None:
    key = "tenant:a-customer-of-ours"
    handle, *_ = [await app.batch(store_rows, f"row {number}", key, size=2, within=3600) for number in range(26)]
    await handle.flush()
    await app.report(handle.instance_id, wait=lambda told: told.get("started") == 13, timeout=30)
    await app.batch(store_rows, "row 26", key, size=2, within=3600)


def test_a_window_in_a_browser(tmp_path: Path) -> None:
    executable = chromium()
    PICTURES.mkdir(parents=True, exist_ok=True)
    app = Romancy(f"sqlite:///{tmp_path}/shop.db", workflows=[store_rows])
    with serving_beside(app, fill) as port, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=list(ARGUMENTS))
        page = browser.new_context(viewport={"width": 1400, "height": 900}).new_page()
        page.goto(f"http://127.0.0.1:{port}/")
        page.get_by_role("link", name="Windows").click()
        page.get_by_role("link", name="tenant:a-customer-of-ours").wait_for()
        page.screenshot(path=PICTURES / "windows-wide.png")
        check(page, "windows")
        page.set_viewport_size({"width": 1400, "height": 900})
        page.get_by_role("link", name="tenant:a-customer-of-ours").click()
        page.get_by_role("heading", name="Window of a batch").wait_for()
        page.get_by_text("The last 10 starts").click()
        assert 10 == page.locator("section.window tbody tr").count()
        page.screenshot(path=PICTURES / "window-wide.png")
        check(page, "window")
        page.set_viewport_size({"width": 1400, "height": 900})
        page.locator("section.window tbody a").first.click()
        page.get_by_role("heading", name="store_rows:tenant").wait_for()
