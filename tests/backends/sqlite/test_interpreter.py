"""A cancelled call of SQLite's: its operation never begins, or it ends. It has no step at which it could stop."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from romancy.storage.sqlkit.statements import ask
from romancy_sqlite._interpreter import SqliteInterpreter
from romancy_sqlite._scripts import heads

if TYPE_CHECKING:
    from romancy.storage.sqlkit.statements import Operation
    from romancy_sqlite import SqliteStore

pytestmark = pytest.mark.anyio


class Sweeping:
    """An operation that waits on its thread after it has begun."""

    def __init__(self) -> None:
        self.begun, self.go, self.ended = threading.Event(), threading.Event(), False

    def operation(self) -> Operation[None]:
        self.begun.set()
        self.go.wait(60)
        yield from ask("outbox_sweep")
        self.ended = True


async def test_an_operation_that_waits_in_the_queue_never_begins(store: SqliteStore) -> None:
    interpreter, sweeping = SqliteInterpreter(store, heads()), Sweeping()
    free = threading.Event()
    store.file.writer.take_turn(lambda: assert_set(free))
    sweeping.go.set()
    call = asyncio.create_task(interpreter.in_turn(sweeping.operation))
    await asyncio.sleep(0)  # it is in the queue then

    call.cancel()
    await asyncio.wait({call})
    free.set()
    await store.services.outbox.sweep()

    assert call.cancelled()
    assert not sweeping.begun.is_set()


async def test_an_operation_that_has_begun_ends(store: SqliteStore) -> None:
    interpreter, sweeping = SqliteInterpreter(store, heads()), Sweeping()
    call = asyncio.create_task(interpreter.in_turn(sweeping.operation))
    assert await asyncio.to_thread(sweeping.begun.wait, 60)

    call.cancel()
    await asyncio.wait({call})
    sweeping.go.set()
    await store.services.outbox.sweep()

    assert call.cancelled()
    assert sweeping.ended


def assert_set(event: threading.Event) -> None:
    """Wait for it."""
    assert event.wait(60)
