"""The pages of schedules in Chromium: in both colours and on a phone, and a schedule that is paused by hand.

The pictures are written to build/dashboard.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import sync_playwright

from romancy import Romancy, TerminalError, WorkflowContext, workflow
from tests.dashboard.chromium import ARGUMENTS, PICTURES, check, chromium
from tests.dashboard.serving import serving_beside

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

LIMIT = 30


@workflow
async def close_books(ctx: WorkflowContext, ledger: str) -> str:
    if ledger == "bad":
        raise TerminalError("no such ledger")
    return ledger


async def fill(app: Romancy) -> None:
    await app.schedule("nightly-close", close_books.bind("main"), cron="30 2 * * mon-fri", tz="Europe/Berlin")
    hourly = await app.schedule("hourly-till", close_books.bind("till"), every=timedelta(hours=1), overlap="allow")
    failing = await app.schedule(
        "import-of-a-ledger-that-is-not-there", close_books.bind("bad"), every=86_400, pause_on_failure=True
    )
    for number in range(1, 4):
        await hourly.trigger()
        await told(app, hourly.instance_id, "completed", number)
    await failing.trigger()
    await told(app, failing.instance_id, "failed", 1)


async def told(app: Romancy, instance_id: str, outcome: str, number: int) -> None:
    def holds(report: Any) -> bool:
        return [run["outcome"] for run in report["progress"].get("runs", [])].count(outcome) == number

    await app.report(instance_id, wait=holds, timeout=LIMIT)


def test_schedules_in_a_browser(tmp_path: Path) -> None:
    executable = chromium()
    PICTURES.mkdir(parents=True, exist_ok=True)
    app = Romancy(f"sqlite:///{tmp_path}/shop.db", workflows=[close_books])
    with serving_beside(app, fill) as port, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=list(ARGUMENTS))
        page = browser.new_context(viewport={"width": 1280, "height": 860}).new_page()
        page.goto(f"http://127.0.0.1:{port}/")
        page.get_by_role("link", name="Schedules").click()
        page.get_by_role("link", name="nightly-close").wait_for()
        assert 3 == page.locator("#list tbody tr").count()
        check(page, "schedules")
        page.get_by_role("link", name="hourly-till").click()
        page.get_by_role("heading", name="hourly-till").wait_for()
        check(page, "schedule")
        page.get_by_role("link", name="Trigger").click()
        page.get_by_label("If a run is open").select_option("allow")
        check(page, "trigger")
        page.get_by_role("button", name="Trigger").click()
        page.get_by_text("A worker starts a run.").wait_for()
        page.get_by_text("4, 0 failed").wait_for()  # the open page hears of it
        page.get_by_role("link", name="Pause").click()
        page.get_by_label("Note").fill("stocktaking")
        page.get_by_role("button", name="Pause").click()
        page.get_by_text("stocktaking").wait_for()
        page.get_by_role("link", name="Resume").wait_for()
        check(page, "schedule-paused")
        page.get_by_role("link", name="Backfill").click()
        page.get_by_label("From").fill("2026-03-01T00:00")
        page.get_by_label("To").fill("2026-03-01T02:30")
        check(page, "backfill")
        page.get_by_role("button", name="Backfill").click()
        page.get_by_text("A worker starts the runs, a hundred at a time.").wait_for()
        page.get_by_role("link", name="Start", exact=True).click()
        page.get_by_role("link", name="close_books").click()
        page.get_by_label("Not before").wait_for()
        check(page, "start")
        browser.close()
