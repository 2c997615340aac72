"""The browser of the tests. Continuous integration installs it; other machines skip the tests if they have none."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

import pytest

__all__ = ["ARGUMENTS", "chromium"]

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
