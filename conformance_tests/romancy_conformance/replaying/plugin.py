"""The pytest side: the mark of tests that damage logs on purpose, the other process, and the counts in the summary."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, cast

import pytest

from romancy.storage.backends import create_store
from romancy_conformance.replaying.client import Replayer
from romancy_conformance.replaying.harvest import noting, replayed

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["replay_afterwards"]

_HISTORIES = "romancy histories"
_KEEPERS = ("tmp_path", "storage_url", "server_for")
"""Fixtures that remove a database at their end."""
_replayer = Replayer()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "unreplayable(why): what this test leaves in its logs is broken on purpose")
    config.addinivalue_line("markers", "replayed_elsewhere: the same test replays its histories on another database")


def pytest_unconfigure() -> None:
    _replayer.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many histories were replayed, and why others were not."""
    reports = [one for some in terminalreporter.stats.values() for one in some if isinstance(one, pytest.TestReport)]
    counts: Counter[str] = Counter()
    for report in reports:
        for name, value in report.user_properties if report.when == "teardown" else ():
            if name == _HISTORIES:
                counts.update(cast("dict[str, int]", value))
    if counts:
        terminalreporter.section("romancy histories")
        terminalreporter.line(f"replayed in another process: {counts.pop('elsewhere', 0)}")
    for what, count in sorted(counts.items()):
        terminalreporter.line(f"{count} {what}")


def replay_afterwards(request: pytest.FixtureRequest, *, swept: bool = False) -> Iterator[None]:
    """Body of a fixture: after the test, replay the histories it left, and fail the test where a replay differs."""
    names = set(request.fixturenames)
    for name in _KEEPERS:
        if name in names:
            request.getfixturevalue(name)
    node = cast("pytest.Item", request.node)
    if "storage_url" not in names or node.get_closest_marker("replayed_elsewhere") is not None:
        yield
        return
    url = cast("str", request.getfixturevalue("storage_url"))
    kept = create_store(url) if url.startswith("memory:") else None  # keeps an in-memory database alive
    with noting() as noted:
        yield
    mark = node.get_closest_marker("unreplayable")
    if mark is not None:
        node.user_properties.append((_HISTORIES, {f"tests left out, {mark.args[0]}": 1}))
        return
    replays = replayed(url, noted, _replayer, swept=swept)
    del kept
    node.user_properties.append((_HISTORIES, {what: count for what, count in replays.counts.items() if count}))
    if replays.wrong:
        told = "\n".join(replays.wrong)
        pytest.fail(f"{told}\n(replayed with the hash seed {_replayer.seed})", pytrace=False)
