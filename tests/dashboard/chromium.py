"""The browser of the tests. Continuous integration installs it; other machines skip the tests if they have none."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from axe_playwright_python.sync_playwright import Axe

from tools.tree import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Page

__all__ = ["ARGUMENTS", "PICTURES", "check", "chromium"]

PICTURES: Final = ROOT / "build" / "dashboard"

ARGUMENTS: Final = (
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
_NAME: Final = "chromium"


def chromium() -> str:
    """Return the path of the browser, or skip the test; fail it in continuous integration."""
    found = shutil.which(_NAME)
    if found is None and "CI" in os.environ and os.geteuid() == 0 and shutil.which("apt-get"):
        _install()
        found = shutil.which(_NAME)
    if found is None:
        (pytest.fail if "CI" in os.environ else pytest.skip)(f"this machine has no {_NAME}: apt-get install {_NAME}")
    return found


def _install() -> None:
    """Install it, one process of the tests at a time."""
    with Path(tempfile.gettempdir(), "romancy-tests-chromium.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if shutil.which(_NAME) is None:
            environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
            for command in (["update", "-q"], ["install", "-q", "-y", "--no-install-recommends", _NAME]):
                subprocess.run(["apt-get", *command], env=environment, check=True, stdout=subprocess.DEVNULL)


def check(page: Page, name: str) -> None:
    """Take pictures in both colours and on a phone, and let axe look at them."""
    for colours in ("light", "dark"):
        page.emulate_media(color_scheme=colours)
        found = Axe().run(page)
        assert 0 == found.violations_count, f"{name}, {colours}: {found.generate_report()}"
        page.screenshot(path=PICTURES / f"{name}-{colours}.png")
    page.set_viewport_size({"width": 390, "height": 844})
    assert 0 == Axe().run(page).violations_count
    wide = page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
    assert not wide, f"{name} is wider than a phone"
    page.screenshot(path=PICTURES / f"{name}-phone.png")
    page.set_viewport_size({"width": 1280, "height": 860})
