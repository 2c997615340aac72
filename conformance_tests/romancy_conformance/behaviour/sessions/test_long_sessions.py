"""A session that is open for longer than the lease and excludes other writers: its attempt is made once.

The test controls the worker's clock, so hours pass when the test says so, and none on a slow machine.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

import romancy.engine.worker.lease
from romancy import RetryPolicy, Romancy, activity, activity_context
from romancy.core import ActivityAttemptFailed, OwnerChanged
from romancy.storage.backends import create_store
from romancy_conformance.behaviour.calling import calling
from romancy_conformance.contract.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from romancy_conformance.behaviour.opening import Open

pytestmark = [pytest.mark.anyio, pytest.mark.backends("sqlite")]

HOUR = 3_600_000_000


class Scene:
    """What the activities of a test share, and the clock for leases."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.now = HOUR
        self.opened = asyncio.Event()
        self.begun_beside = asyncio.Event()
        self.go_on = asyncio.Event()
        self.begun: list[str] = []


scenes: list[Scene] = []


@pytest.fixture
async def scene(storage_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    """A user's table, before any app is open."""
    store = create_store(storage_url)
    await store.open()
    scenes.append(Scene(await Ledger(store).create()))
    monkeypatch.setattr(romancy.engine.worker.lease, "boot_time", lambda: scenes[-1].now)
    yield scenes[-1]
    await store.close()


@activity(retry=RetryPolicy.fixed(2, 0))
async def long_in_session(how: str) -> int:
    context, scene = activity_context(), scenes[-1]
    scene.begun.append("long")
    session = await context.session()
    await scene.ledger.write(session, f"long {context.attempt}", 1)
    scene.opened.set()
    await scene.go_on.wait()
    if how == "fails":
        raise ValueError("after all")
    return context.attempt


@activity
async def beside() -> str:
    scene = scenes[-1]
    scene.begun.append("beside")
    scene.begun_beside.set()
    await scene.go_on.wait()
    return "beside"


calls_long_in_session = calling(long_in_session)
calls_beside = calling(beside)


async def outlast_the_lease(app: Romancy, scene: Scene) -> None:
    """Let an hour pass with the session open, and make every worker look at the clock."""
    await asyncio.wait_for(scene.opened.wait(), 100)
    scene.now += HOUR
    worker = app._access.worker  # pyright: ignore[reportPrivateUsage]
    assert worker is not None
    worker.beating.watch()
    await asyncio.sleep(0)
    worker.beating.watch()


async def test_a_session_longer_than_the_lease_is_made_once(open_app: Open, scene: Scene) -> None:
    app, other = await open_app(), await open_app()
    second = await app.start(calls_beside)
    await asyncio.wait_for(scene.begun_beside.wait(), 100)
    handle = await app.start(calls_long_in_session, "returns")
    await outlast_the_lease(app, scene)
    scene.go_on.set()

    assert 1 == await handle.result(timeout=100)
    assert "beside" == await second.result(timeout=100)

    assert ["beside", "long"] == sorted(scene.begun)
    assert 1 == await scene.ledger.read("long 1")
    for one in (handle, second):
        assert not [event for event in await one.history() if isinstance(event, OwnerChanged)]
    assert await other.get_instance(handle.instance_id) is not None


async def test_a_session_that_fails_after_the_lease_is_a_failed_attempt(open_app: Open, scene: Scene) -> None:
    """The rollback counts as a failure, and its worker is not declared silent."""
    app, _ = await open_app(lease=1), await open_app(lease=1)  # the next heartbeat comes after a third of it
    handle = await app.start(calls_long_in_session, "fails")
    await outlast_the_lease(app, scene)
    scene.go_on.set()

    with pytest.raises(Exception, match="ValueError: after all, after 2 attempts"):
        await handle.result(timeout=100)

    history = await handle.history()
    assert ["long", "long"] == scene.begun
    assert 1 == sum(isinstance(event, ActivityAttemptFailed) for event in history)
    assert not [event for event in history if isinstance(event, OwnerChanged)]


async def test_the_lease_counts_again_once_the_session_has_ended(open_app: Open, scene: Scene) -> None:
    app = await open_app()
    handle = await app.start(calls_long_in_session, "returns")
    await outlast_the_lease(app, scene)
    worker = app._access.worker  # pyright: ignore[reportPrivateUsage]
    assert worker is not None
    assert worker.leases.fresh()
    scene.go_on.set()
    await handle.result(timeout=100)

    assert worker.leases.fresh()
    scene.now += HOUR

    assert not worker.leases.fresh()
