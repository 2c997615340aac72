"""What every test of the tree shares: how hypothesis looks through a space of inputs, and what a run says at its end.

Fixtures belong beside the tests that use them, servers to `romancy_conformance.servers`.
"""

from __future__ import annotations

import gc
import os
import signal
from collections import Counter
from typing import TYPE_CHECKING, Final, cast

import pytest
from hypothesis import settings

from tools.second_look import LONG

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

pytest_plugins = ["tools.tiers", "tools.hung_tests", "tools.silent_runs"]

PYTHON: Final = "romancy python"
_LONGEST: Final = 300
"""How much of a reason is said again at the end."""

# No deadline: many processes share the machine, and a slow example says nothing about the code.
settings.register_profile("suite", deadline=None, print_blob=True)
settings.register_profile("soak", settings.get_profile("suite"), max_examples=2000)
settings.load_profile("soak" if os.environ.get("ROMANCY_SOAK") else "suite")


def pytest_configure() -> None:
    """Let Ctrl-C be heard again: a shell has what it starts in the background ignore it, and so would our children."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two processes for each processor, because most tests wait for a database, a lease or another process.

    Those of the long tier wait longer. A process needs 700 MB at its end, so on a large machine these are not more.
    """
    processors = os.cpu_count() or 1
    return 2 * processors + (min(processors, 4) if config.getoption("--tier", "") == LONG else 0)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep the garbage collector away from a heap that only grows."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_finish() -> None:
    """Keep what was collected out of the sight of the garbage collector: a test that collects is then quick."""
    gc.freeze()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say on which Pythons the core was tried, and on which it was not for want of one; and why tests were skipped."""
    reports = [each for some in terminalreporter.stats.values() for each in some if isinstance(each, pytest.TestReport)]
    used = {str(value) for report in reports for name, value in report.user_properties if name == PYTHON}
    reasons = _reasons(reports)
    missing = sorted(reason for reason in reasons if "python3." in reason and "cannot be had" in reason)
    if used or missing:
        terminalreporter.section("romancy pythons")
        terminalreporter.line(f"tried on {', '.join(sorted(used)) or 'none'}")
    for reason in missing:
        terminalreporter.line(f"NOT TRIED: {reason}", yellow=True, bold=True)
    if reasons:
        terminalreporter.section("skipped")
    for reason, count in sorted(reasons.items()):
        terminalreporter.line(f"{count} × {_shortened(reason)}")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None, object, object]:
    """Name what failed once more, behind the counts: of a log that is cut the end is left."""
    result = yield
    # pytest 8.2 has no public name for the reporter's class.
    reporter = cast("pytest.TerminalReporter | None", session.config.pluginmanager.get_plugin("terminalreporter"))
    if reporter is not None and not hasattr(session.config, "workerinput"):
        for kind in ("failed", "error"):
            for report in reporter.stats.get(kind, []):
                reporter.ensure_newline()
                reporter.line(f"{kind.upper()} {report.nodeid} - {_failure(report)}", red=True)
    return result


def _reasons(reports: Iterable[pytest.TestReport]) -> Counter[str]:
    """How many tests were skipped for each reason."""
    skipped = (each.longrepr for each in reports if each.skipped)
    return Counter(longrepr[2].removeprefix("Skipped: ") for longrepr in skipped if isinstance(longrepr, tuple))


def _failure(report: pytest.TestReport | pytest.CollectReport) -> str:
    """The first line of what went wrong."""
    crash = getattr(report.longrepr, "reprcrash", None)
    text = report.longreprtext if crash is None else str(crash.message)
    lines = [
        line for line in text.splitlines() if line.strip() and not line.startswith("[gw")
    ]  # xdist names its worker
    return _shortened(lines[0].strip()) if lines else "no reason was given"


def _shortened(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
