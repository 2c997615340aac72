"""What every test in these folders shares: the event loop of the tests that await."""

from __future__ import annotations

import pytest


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
