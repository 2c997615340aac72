"""An id that is used anew while something of its former life is still under way: the new life meets nothing of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

import romancy.app
from romancy import InstanceNotFoundError, Romancy, WorkflowContext, activity, workflow
from romancy.engine import _loading
from romancy.storage.backends import create_store
from romancy.storage.records import Outcome, is_end

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from romancy.storage.protocol import Store
    from romancy.storage.records import ClaimRequest, Item, Work

    Open = Callable[..., Awaitable[Romancy]]

pytestmark = pytest.mark.anyio

SOON = 60.0


@activity
async def lived(what: str) -> str:
    return what


@workflow
async def short_life(ctx: WorkflowContext, what: str) -> str:
    return await lived(await lived(what))


class HoldsEnds:
    """A store that keeps what it knows of a written end to itself, until the worker has claimed the new life."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.written, self.claimed = asyncio.Event(), asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def commit(self, batch: Sequence[Item], /, *, worker: str | None = None) -> list[Outcome]:
        outcomes = await self._store.commit(batch, worker=worker)
        if not self.written.is_set() and any(is_end(item.writer) for item in batch):
            self.written.set()
            await self.claimed.wait()
        return outcomes

    async def claim(self, request: ClaimRequest, /) -> Work:
        work = await self._store.claim(request)
        if self.written.is_set() and work.claimed:
            asyncio.get_running_loop().call_soon(self.claimed.set)
        return work


async def test_a_new_life_is_not_taken_for_the_one_that_just_ended(
    open_app: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker has written the end, and claims the new life before it hears that the end is in."""
    held: list[HoldsEnds] = []

    def create(url: str) -> Any:
        held.append(HoldsEnds(create_store(url)))
        return held[-1]

    with monkeypatch.context() as patch:
        patch.setattr(romancy.app, "create_store", create)
        app = await open_app(sticky=0)
    front = await open_app(worker=False)
    await app.start(short_life.options(instance_id="same"), "old")
    await asyncio.wait_for(held[0].written.wait(), SOON)
    assert 1 == await front.purge("same")

    await front.start(short_life.options(instance_id="same"), "new")
    await asyncio.wait_for(held[0].claimed.wait(), SOON)

    assert "new" == await front.handle("same", short_life).result(timeout=SOON)


async def test_what_is_read_of_a_log_is_of_one_life(app: Romancy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its id is used anew between two pages."""
    monkeypatch.setattr(_loading, "_PAGE", 1)
    named = short_life.options(instance_id="same")
    await app.run(named, "old")
    log = _loading.rows(app._opened(), "same", after=0)  # pyright: ignore[reportPrivateUsage]
    row, _ = await anext(log)
    assert 1 == row.seq

    await app.purge("same")
    await app.run(named, "new")

    with pytest.raises(InstanceNotFoundError, match="'same' was removed, and its id is used anew"):
        await anext(log)
