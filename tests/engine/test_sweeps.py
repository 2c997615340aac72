"""Sweeps: from time to time a worker looks for uncounted messages."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

import romancy.app
from romancy import Romancy, WorkflowContext, workflow
from romancy.engine.worker import claims
from romancy.storage.backends import create_store

if TYPE_CHECKING:
    from romancy.storage.protocol import Store
    from romancy.storage.records import ClaimRequest, Work

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@workflow
async def nothing(ctx: WorkflowContext) -> None:
    """Answer that there is nothing to claim."""


class Asked:
    """A store that records the claims that sweep, and waits for so many."""

    def __init__(self, store: Store, count: int) -> None:
        self._store = store
        self._count = count
        self.sweeps: list[bool] = []
        self.enough = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def claim(self, request: ClaimRequest, /) -> Work:
        self.sweeps.append(request.sweep)
        if self.sweeps.count(True) == self._count:
            self.enough.set()
        return await self._store.claim(request)


async def test_a_worker_sweeps_when_it_begins_and_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """B1: only a sweep finds what a crash left uncounted."""
    monkeypatch.setattr(claims, "_SWEEP_EVERY", 0.2)
    made: list[Asked] = []

    def create(url: str, **options: Any) -> Any:
        made.append(Asked(create_store(url, **options), 3))
        return made[-1]

    monkeypatch.setattr(romancy.app, "create_store", create)
    async with Romancy("memory://", workflows=[nothing]):
        await asyncio.wait_for(made[0].enough.wait(), 60)

    assert made[0].sweeps[0]
