"""What every test of the tree shares: how hypothesis looks through a space of inputs, and which Pythons were there.

Fixtures belong beside the tests that use them, servers to `romancy_conformance.servers`.
"""

from __future__ import annotations

import os
from typing import Final

import pytest
from hypothesis import settings

PYTHON: Final = "romancy python"

# No deadline: many processes share the machine, and a slow example says nothing about the code.
settings.register_profile("suite", deadline=None, print_blob=True)
settings.register_profile("soak", settings.get_profile("suite"), max_examples=2000)
settings.load_profile("soak" if os.environ.get("ROMANCY_SOAK") else "suite")


def pytest_sessionstart(session: pytest.Session) -> None:
    _note_exit(session, -1)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    _note_exit(session, int(exitstatus))


def _note_exit(session: pytest.Session, exitstatus: int) -> None:
    """Leave a note of how the run ended, for `tools.second_look`: a run cut short has no list of what failed."""
    config = session.config
    if config.pluginmanager.has_plugin("cacheprovider") and not hasattr(config, "workerinput"):
        config.cache.set("romancy/exit", exitstatus)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say on which Pythons the core was tried, and on which it was not for want of one."""
    reports = [each for some in terminalreporter.stats.values() for each in some if isinstance(each, pytest.TestReport)]
    used = {str(value) for report in reports for name, value in report.user_properties if name == PYTHON}
    reasons = {report.longrepr[2] for report in reports if report.skipped and isinstance(report.longrepr, tuple)}
    missing = sorted(reason for reason in reasons if "python3." in reason and "cannot be had" in reason)
    if used or missing:
        terminalreporter.section("romancy pythons")
        terminalreporter.line(f"tried on {', '.join(sorted(used)) or 'none'}")
    for reason in missing:
        terminalreporter.line(f"NOT TRIED: {reason}", yellow=True, bold=True)
