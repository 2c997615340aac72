"""Sessions of plain functions: the same transaction as that of an `async def`, used from a thread."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from romancy import (
    RetryExhaustedError,
    RetryPolicy,
    Romancy,
    SyncSession,
    WorkflowContext,
    activity,
    activity_context,
    workflow,
)
from romancy.engine.activities import runner
from romancy.storage.backends import create_store
from romancy_conformance.behaviour.calling import calling
from romancy_conformance.contract.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio

ONCE = RetryPolicy.none()
AT_ONCE = RetryPolicy.fixed(3, 0.0)


class Scene:
    """What a test and its activities share."""

    ledger: Ledger
    begun: asyncio.Event
    go_on: threading.Event
    left: asyncio.Event
    raised: list[str]


@pytest.fixture
async def ledger(storage_url: str, app: Romancy) -> AsyncIterator[Ledger]:
    """A user's table in the app's database."""
    store = create_store(storage_url)
    await store.open()
    if not store.capabilities.sql:
        await store.close()
        pytest.skip("capability: this database has no SQL")
    Scene.ledger = await Ledger(store).create()
    yield Scene.ledger
    await store.close()


def write(session: SyncSession, key: str) -> None:
    assert session.execute(Scene.ledger.insert(key)) == 1


def undo_alone(session: SyncSession, key: str) -> None:
    with session.savepoint():
        write(session, key)
        raise LookupError(key)


@activity(retry=AT_ONCE)
def book(key: str) -> int:
    context = activity_context()
    with context.session() as session:
        write(session, key)
        with pytest.raises(LookupError):
            undo_alone(session, f"{key} undone")
        with session.savepoint():
            write(session, f"{key} kept")
    if context.attempt == 1:
        raise ConnectionError("after the writes")
    return context.attempt


calls_book = calling(book)


async def test_rows_of_a_thread_and_its_result_are_one(app: Romancy, ledger: Ledger) -> None:
    assert await app.run(calls_book, "ann") == 2
    assert [await ledger.read(key) for key in ("ann", "ann kept", "ann undone")] == [1, 1, None]


@activity(retry=ONCE)
def forgets() -> None:
    session: Any = activity_context().session()
    session.execute("select 1")


@activity(retry=ONCE)
async def enters() -> None:
    with activity_context().session():
        pass


@workflow
async def misusing(ctx: WorkflowContext, what: str) -> str:
    try:
        await (forgets if what == "forgets" else enters)()
    except RetryExhaustedError as error:
        return str(error)
    return "no error"


async def test_what_is_neither_awaited_nor_entered(app: Romancy) -> None:
    assert "`with session() as db` in a plain function" in await app.run(misusing, "forgets")
    assert "await it: `db = await session()`" in await app.run(misusing, "enters")


@activity(retry=ONCE, timeout=0.2)
def goes_on_for_too_long(key: str) -> None:
    try:
        with activity_context().session() as session:
            write(session, key)
            loop.call_soon_threadsafe(Scene.begun.set)
            assert Scene.go_on.wait(60)
            write(session, f"{key} late")
    except asyncio.CancelledError as error:
        Scene.raised.append(str(error))
        raise
    finally:
        loop.call_soon_threadsafe(Scene.left.set)


loop: asyncio.AbstractEventLoop


@workflow
async def overdue(ctx: WorkflowContext, key: str) -> str:
    try:
        await goes_on_for_too_long(key)
    except RetryExhaustedError as error:
        return str(error)
    return "no error"


async def test_a_thread_that_was_given_up_writes_nothing(
    app: Romancy, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    global loop  # noqa: PLW0603 - the thread tells the test's loop
    monkeypatch.setattr(runner, "_LAST_WORD", 0.2)
    loop = asyncio.get_running_loop()
    Scene.begun, Scene.go_on, Scene.left, Scene.raised = asyncio.Event(), threading.Event(), asyncio.Event(), []
    assert "goes_on_for_too_long took longer than 0.2 s" in await app.run(overdue, "ann")
    Scene.go_on.set()
    await Scene.left.wait()
    assert len(Scene.raised) == 1
    assert "this attempt was given up" in Scene.raised[0]
    assert [await ledger.read(key) for key in ("ann", "ann late")] == [None, None]
