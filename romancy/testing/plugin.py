"""Fixtures for pytest. Only a test run that asks for this module loads it.

Ask with `pytest_plugins = ["romancy.testing.plugin"]` in the `conftest.py` at the root, or with
`-p romancy.testing.plugin`. The fixtures are plain functions, so they work with every plugin for async tests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from romancy.testing._app import TestApp
from romancy.testing._replays import assert_replays, record_history

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from romancy.handle import Handle

__all__ = ["Histories", "pytest_addoption", "romancy_app", "romancy_histories"]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("romancy testing")
    group.addoption("--record-histories", action="store_true", help="write the files of romancy_histories again")


@pytest.fixture
def romancy_app() -> Iterator[Callable[..., TestApp]]:
    """Makes test apps with the arguments of `TestApp`. A test that leaves one open fails."""
    apps: list[TestApp] = []

    def make(*args: Any, **kwargs: Any) -> TestApp:
        apps.append(TestApp(*args, **kwargs))
        return apps[-1]

    yield make
    if any(app.is_open for app in apps):
        pytest.fail("the test has left a TestApp open: use it with `async with`")


class Histories:
    """Recorded histories in the folder `histories` beside the test."""

    def __init__(self, folder: Path, *, recording: bool) -> None:
        self._folder = folder
        self._recording = recording

    async def check(self, handle: Handle[Any], name: str) -> None:
        """Check the workflow of a handle against the recorded history of that name, or record it (when asked to)."""
        path = self._folder / f"{name}.jsonl"
        if self._recording:
            self._folder.mkdir(exist_ok=True)
            await record_history(handle, path)
        if not path.exists():
            pytest.fail(f"{path} is missing: run pytest with --record-histories, and keep the file with the tests")
        if handle.workflow is None:
            pytest.fail("the handle does not know its workflow: give it to app.handle(id, workflow)")
        assert_replays(handle.workflow, path)


@pytest.fixture
def romancy_histories(request: pytest.FixtureRequest) -> Histories:
    """Recorded histories beside the test, written with `--record-histories`."""
    recording = request.config.getoption("--record-histories")
    return Histories(request.path.parent / "histories", recording=bool(recording))
