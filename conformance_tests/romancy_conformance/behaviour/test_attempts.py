"""Attempts: what one is charged for, and by which key the world outside knows it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

import romancy.app
from romancy import RetryPolicy, Romancy, WorkflowContext, activity, activity_context, workflow
from romancy.errors import StorageUnavailableError
from romancy.storage.backends import create_store

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from romancy.storage.protocol import Store

    Open = Callable[..., Awaitable[Romancy]]

pytestmark = pytest.mark.anyio


@activity(retry=RetryPolicy.none())
async def keyed() -> str:
    return activity_context().idempotency_key


@activity(retry=RetryPolicy.none())
async def asks_for_a_session() -> int:
    context = activity_context()
    await context.session()
    return context.attempt


@workflow
async def keys_of_two_runs(ctx: WorkflowContext, former: list[str]) -> list[str]:
    key = await keyed()
    if not former:
        keys_of_two_runs.recur([key])
    return [*former, key]


@workflow
async def in_a_session(ctx: WorkflowContext) -> int:
    return await asks_for_a_session()


class Forgetful:
    """A store that takes a session away from who asks for one, so many times."""

    def __init__(self, store: Store, times: int) -> None:
        self._store = store
        self.left = times

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    @asynccontextmanager
    async def session(self, **options: Any) -> AsyncGenerator[Any]:
        async with self._store.session(**options) as session:
            if self.left:
                self.left -= 1
                raise StorageUnavailableError("chosen to give way")
            yield session


async def test_a_key_is_another_in_every_run_and_life_of_an_id(app: Romancy) -> None:
    """C9: a provider that has seen a key answers as it did then, and nothing is charged."""
    told: list[str] = []
    for _ in range(2):
        handle = await app.start(keys_of_two_runs.options(instance_id="again"), [])
        told += await handle.result(timeout=60)
        assert await app.purge("again") == 1

    assert len(set(told)) == 4


async def test_an_attempt_whose_session_the_database_took_away_is_made_again_untold(
    open_app: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A7: it was nobody's fault, so the retry policy is not asked."""
    stores: list[Forgetful] = []

    def create(url: str) -> Any:
        stores.append(Forgetful(create_store(url), 2))
        return stores[-1]

    monkeypatch.setattr(romancy.app, "create_store", create)
    app = await open_app()

    assert await app.run(in_a_session) == 1
    assert stores[0].left == 0
