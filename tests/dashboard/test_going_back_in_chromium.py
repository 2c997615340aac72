"""Going back in Chromium: from a step to the plan and the fork, in both colours, on a phone, and without scripts.

The pictures are written to build/dashboard.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

from romancy import Romancy, WorkflowFailedError
from tests.dashboard.chromium import ARGUMENTS, PICTURES, check, chromium
from tests.dashboard.serving import serving_beside
from tests.dashboard.shopping import bill, shop

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

LONG = "o-" + "0123456789" * 12


async def fill(app: Romancy) -> None:
    for instance_id, item in (("order-1", "lamp"), (LONG, "vase")):
        await app.run(shop.options(instance_id=instance_id), item)
    lost = await app.start(shop.options(instance_id="order-2"), "lost")
    with pytest.raises(WorkflowFailedError):
        await lost.result(timeout=60)


def test_going_back_in_a_browser(tmp_path: Path) -> None:
    executable = chromium()
    PICTURES.mkdir(parents=True, exist_ok=True)
    faults: list[str] = []
    app = Romancy(f"sqlite:///{tmp_path}/shop.db", workflows=[shop, bill])
    with serving_beside(app, fill) as port, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=list(ARGUMENTS))
        site = f"http://127.0.0.1:{port}"
        page = browser.new_context(viewport={"width": 1280, "height": 860}).new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(f"{site}/instances/order-1")
        check(page, "timeline-that-leads-back")
        page.get_by_role("link", name="Go back to before ship:1").click()
        page.get_by_role("heading", name="Go back to before ship:1?").wait_for()
        check(page, "go-back-fork")
        look_wide(page, "go-back-fork")
        rewind(page)
        without_scripts(browser.new_context(java_script_enabled=False).new_page(), site)
        page.goto(f"{site}/go-back/{LONG}?before=timer%3A1")
        check(page, "go-back-long-id")
        page.goto(f"{site}/go-back/order-2?before=bill%3A1&as=rewind")
        page.get_by_role("alert").wait_for()
        check(page, "go-back-refused")
        browser.close()
    assert [] == faults


def look_wide(page: Page, name: str) -> None:
    page.set_viewport_size({"width": 1400, "height": 1000})
    for colours in ("light", "dark"):
        page.emulate_media(color_scheme=colours)
        assert 0 == Axe().run(page).violations_count
        page.screenshot(path=PICTURES / f"{name}-{colours}-1400.png", full_page=True)
        page.set_viewport_size({"width": 390, "height": 844})
        page.screenshot(path=PICTURES / f"{name}-{colours}-390.png", full_page=True)
        page.set_viewport_size({"width": 1400, "height": 1000})


def rewind(page: Page) -> None:
    page.get_by_label("Rewind: this instance itself goes back").check()
    page.get_by_role("button", name="Show the plan").click()
    page.get_by_text("It cannot be rewound there: ship:1 did something").wait_for()
    assert 0 == page.get_by_role("button", name="Rewind").count()
    page.get_by_label("Work behind the point that stands").select_option("keep")
    page.get_by_role("button", name="Show the plan").click()
    page.get_by_role("button", name="Rewind").wait_for()
    look_wide(page, "go-back-rewind")
    check(page, "go-back-rewind")
    page.get_by_role("button", name="Rewind").click()
    page.get_by_text("The instance was taken back").wait_for()
    assert page.url.endswith("/instances/order-1?done=rewind")


def without_scripts(page: Page, site: str) -> None:
    page.goto(f"{site}/instances/{LONG}")
    page.get_by_role("link", name="Go back to before bill:1").click()
    page.get_by_label("Input").fill("{")
    page.get_by_role("button", name="Fork").click()
    page.get_by_text("The input is no JSON").wait_for()
    assert "{" == page.get_by_label("Input").input_value()
    page.get_by_label("Input").fill("")
    page.get_by_label("Id of the fork").fill("order-3")
    page.get_by_role("button", name="Fork").click()
    page.get_by_text("This is the fork").wait_for()
    page.get_by_role("heading", name="order-3").wait_for()
