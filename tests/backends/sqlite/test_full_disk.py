"""A full disk, and a read-only one: the error, that nothing is left half done, and that it passes."""

# Which connection meets the full disk is not visible from outside.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING, Any

import pytest

from romancy.errors import StorageConfigurationError, StorageUnavailableError
from romancy.storage.query import build_query
from romancy.storage.records import Delivered, Outcome
from romancy.storage.url import parse_url
from romancy_conformance.behaviour.faults.disks import Disk, mounted
from romancy_conformance.contract.building import Actor, delivery, full_log, start, step
from romancy_sqlite import create_store

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from romancy.storage.records import Append
    from romancy_sqlite import SqliteStore
    from romancy_sqlite._writer import Writer

    Open = Callable[..., Awaitable[SqliteStore]]

pytestmark = pytest.mark.anyio

FULL = "the disk that holds it is full; free some space"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A disk of 2 MB."""
    with mounted(tmp_path / "disk", "size=2m") as disk:
        yield disk


@pytest.fixture
def path(disk: Disk) -> Path:
    return disk.folder / "romancy.db"


async def in_session(actor: Actor, item: Append, rows: str = "select 1") -> Outcome:
    """Commit an item with a user's rows."""
    async with actor.store.services.sessions.begin() as session:
        await session.execute("create table if not exists mine (k)")
        await session.execute(f"insert into mine {rows}")
        return await session.commit(item)


async def test_every_write_waits_for_room_and_every_read_goes_on(actor: Actor, store: SqliteStore, disk: Disk) -> None:
    begun, other = await actor.begin(), await actor.begin()
    disk.fill()
    item = start()
    writes: dict[str, Callable[[], Awaitable[Any]]] = {
        "a lone append": lambda: store.commit([step(begun, 2)], worker=actor.token),
        "appends": lambda: store.commit([step(begun, 2), step(other, 2)], worker=actor.token),
        "a start": lambda: store.commit([item]),
        "a delivery": lambda: store.deliver([delivery(begun)]),
        "a beat": lambda: store.heartbeat(actor.worker),
        "a session": lambda: in_session(actor, start()),
    }

    for what, write in writes.items():
        with pytest.raises(StorageUnavailableError, match=FULL):
            pytest.fail(f"{what} was written: {await write()}")

    assert [1] == [row.seq for row in await full_log(store, begun.instance_id)]
    assert await store.read(item.instance_id) is None
    assert {begun.instance_id, other.instance_id} == {
        row.instance_id for row in (await store.services.reading.find(build_query())).rows
    }

    disk.free()

    assert [Outcome.ACCEPTED] == await writes["a lone append"]()
    assert [Outcome.ACCEPTED] == await store.commit([step(other, 2)], worker=actor.token)
    assert [Outcome.ACCEPTED] == await writes["a start"]()
    assert [Delivered.ACCEPTED] == await writes["a delivery"]()
    assert (await writes["a beat"]()).alive
    assert Outcome.ACCEPTED is await writes["a session"]()
    assert [1, 2] == [row.seq for row in await full_log(store, begun.instance_id)]


MUCH = "with recursive n (i) as (select 1 union all select i + 1 from n limit 4000) select randomblob(1000) from n"


async def swallow(store: SqliteStore, write: Callable[[Any], Awaitable[object]]) -> Outcome:
    """Continue and commit although a statement has met the full disk."""
    async with store.services.sessions.begin() as session:
        with pytest.raises(StorageUnavailableError, match=FULL):
            await write(session)
        return await session.commit(start())


async def natively(session: Any) -> None:
    """Write by the library's own object."""
    session.native.execute(f"create table mine as {MUCH}")


async def test_a_statement_of_the_users_that_meets_a_full_disk_is_nobodys_fault(
    actor: Actor, store: SqliteStore
) -> None:
    """So an activity that lets the error out is not charged, and neither is one that catches it."""
    with pytest.raises(StorageUnavailableError, match=FULL):
        await in_session(actor, start(), MUCH)
    with pytest.raises(StorageUnavailableError, match=FULL):
        await swallow(store, lambda session: session.execute(f"create table mine as {MUCH}"))
    with pytest.raises(StorageUnavailableError, match=FULL):
        await swallow(store, natively)

    assert [] == (await store.services.reading.find(build_query())).rows
    assert Outcome.ACCEPTED is await in_session(actor, start())


async def test_a_file_on_a_full_disk_can_be_opened_and_none_be_made(open_store: Open, disk: Disk) -> None:
    """It can be opened as long as its `-shm` file exists, which the last process to close the file deletes."""
    store = await open_store()
    await store.commit([start()])
    disk.fill()

    with pytest.raises(StorageUnavailableError, match=FULL):
        await create_store(parse_url(f"sqlite:///{disk.folder}/new.db")).open()
    second = await open_store()

    assert 1 == len((await second.services.reading.find(build_query())).rows)


async def checkpoint(writer: Writer) -> None:
    """Let the writer's thread make a checkpoint, and wait for it: a lone commit on this thread may come before it."""
    done = threading.Event()
    writer.take_turn(writer._checkpoint)
    writer.take_turn(done.set)
    await asyncio.to_thread(done.wait)


async def test_a_checkpoint_without_room_is_left_for_later(
    actor: Actor, store: SqliteStore, disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    writer = store.file.writer
    begun = await actor.begin()
    await store.commit([step(begun, 2, b'["' + b"x" * 200_000 + b'"]')], worker=actor.token)
    disk.fill()

    with caplog.at_level(logging.WARNING, "romancy.sqlite"):
        await checkpoint(writer)
        with pytest.raises(StorageUnavailableError, match=FULL):
            await store.commit([step(begun, 3)], worker=actor.token)
    disk.free()
    await checkpoint(writer)

    assert ["was not copied back" in record.message and FULL in record.message for record in caplog.records] == [True]
    assert [Outcome.ACCEPTED] == await store.commit([step(begun, 3)], worker=actor.token)
    assert (disk.folder / "romancy.db").stat().st_size > 200_000


async def test_a_disk_that_is_read_only_is_refused_at_once(open_store: Open, disk: Disk, path: Path) -> None:
    store = await open_store()
    await store.commit([start()])
    await store.close()
    disk.remount("ro")

    with pytest.raises(StorageConfigurationError, match=r"romancy\.db: this user may not write"):
        await create_store(parse_url(f"sqlite:///{path}")).open()
    with pytest.raises(StorageConfigurationError, match=r"new\.db: cannot be created \(Read-only file system\)"):
        await create_store(parse_url(f"sqlite:///{disk.folder}/new.db")).open()
    disk.remount("rw")

    assert 1 == len((await (await open_store()).services.reading.find(build_query())).rows)
