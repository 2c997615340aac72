"""The lives of instances that are started anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from romancy.storage.backends import create_store
from romancy_conformance.invariants import sweep

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from romancy import (
        Romancy,
        Workflow,
    )

__all__ = ["keys", "life_of", "nothing_is_amiss"]


keys: list[str] = []


@pytest.fixture(autouse=True)
async def nothing_is_amiss(storage_url: str, workflows: list[Workflow[..., Any]]) -> AsyncIterator[None]:
    """Check that the database has no violations when the test has ended."""
    keys.clear()
    yield
    store = create_store(storage_url)
    await store.open()
    complaints = await sweep(store, {each.name: each for each in workflows})
    await store.close()
    assert [] == [each for each in complaints if "codecs" not in each.what]


async def life_of(app: Romancy, instance_id: str) -> int:
    found = await app._access.opened().read(instance_id, limit=0)  # pyright: ignore[reportPrivateUsage]
    assert found is not None
    return found.instance.life
