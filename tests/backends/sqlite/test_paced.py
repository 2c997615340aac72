"""Operations on memory with pauses between their requests: no more is one transaction than on a server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from romancy.errors import StorageUnavailableError
from romancy.storage.backends import create_store
from romancy.storage.records import Worker
from romancy.storage.sqlkit.statements import Operation, ask
from romancy_sqlite._memory import MemoryStore

if TYPE_CHECKING:
    from romancy_sqlite._interpreter import SqliteInterpreter

pytestmark = pytest.mark.anyio


class Pace:
    """Notes which workers another connection sees at each pause, and loses the connection at one of them."""

    def __init__(self, name: str, lost_at: int = 0) -> None:
        self._other = create_store(f"memory://{name}")
        self._lost_at = lost_at
        self.seen: list[int] = []

    async def __call__(self) -> None:
        await self._other.open()
        self.seen.append(len((await self._other.services.reading.census()).workers))
        if len(self.seen) == self._lost_at:
            raise StorageUnavailableError("the connection is lost")


async def paced(name: str, pace: Pace) -> MemoryStore:
    store = create_store(f"memory://{name}", pace=pace)
    assert isinstance(store, MemoryStore)
    await store.open()
    return store


def interpreter_of(store: MemoryStore) -> SqliteInterpreter:
    return store._interpreter  # pyright: ignore[reportPrivateUsage]


def register_two() -> Operation[int]:
    for token in ("a", "b"):
        worker = Worker(token=token, worker_id=token, lease=1_000_000)
        yield from ask(
            "beat", token=token, worker_id=worker.worker_id, lease=worker.lease, leaving=False, registered=False,
            codes=list(worker.codes), boot_id="", pid_namespace="", pid=0, pid_start=0,
        )  # fmt: skip
    return 2


async def test_each_request_is_committed_alone() -> None:
    pace = Pace("alone")
    store = await paced("alone", pace)

    assert await interpreter_of(store).in_turn(register_two) == 2
    assert pace.seen == [0, 1]


async def test_a_transaction_is_still_one() -> None:
    pace = Pace("one")
    store = await paced("one", pace)

    assert await interpreter_of(store).together(register_two) == 2
    assert pace.seen == [0]


async def test_who_loses_the_connection_asks_for_no_more() -> None:
    pace = Pace("lost", lost_at=2)
    store = await paced("lost", pace)

    with pytest.raises(StorageUnavailableError):
        await interpreter_of(store).in_turn(register_two)
    other = create_store("memory://lost")
    await other.open()
    assert [peer.token for peer in (await other.services.reading.census()).workers] == ["a"]
