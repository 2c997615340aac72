"""What every test in these folders shares: the event loop of the tests that await, and no database from outside."""

from __future__ import annotations

import pytest


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def _no_database_of_the_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands take the database that a test names, and none that whoever runs the tests has set."""
    monkeypatch.delenv("ROMANCY_URL", raising=False)
