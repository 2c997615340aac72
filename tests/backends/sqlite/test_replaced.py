"""A file that is deleted, moved or replaced while it is open: the store writes nothing more to the lost file."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from romancy.errors import DatabaseReplacedError
from romancy.storage.records import Outcome
from romancy_conformance.contract.building import start
from romancy_sqlite._driver import sqlite3

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from romancy_conformance.contract.building import Actor
    from romancy_sqlite import SqliteStore

    Open = Callable[..., Awaitable[SqliteStore]]

pytestmark = pytest.mark.anyio


def log_of(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def size_of(path: Path) -> int:
    return path.stat().st_size


def touch(path: Path) -> None:
    path.touch()


def delete(path: Path) -> None:
    path.unlink()


def delete_all(path: Path) -> None:
    for one in list(path.parent.glob(path.name + "*")):
        one.unlink()


def delete_log(path: Path) -> None:
    log_of(path).unlink()


def move(path: Path) -> None:
    path.rename(path.with_name("away.db"))


def replace(path: Path) -> None:
    """Restore: put a copy of the file in its place, and leave the log file as it was."""
    copy = path.with_name("copy.db")
    shutil.copy(path, copy)
    copy.replace(path)


def replace_log(path: Path) -> None:
    copy = path.with_name("copy.db-wal")
    shutil.copy(log_of(path), copy)
    copy.replace(log_of(path))


def make_anew(path: Path) -> None:
    delete_all(path)
    sqlite3.connect(path).close()
    path.touch()


LOSSES = [delete, delete_all, delete_log, move, replace, replace_log, make_anew]


@pytest.mark.parametrize("lose", LOSSES)
async def test_it_is_noticed_at_the_next_beat_and_refused_from_then_on(
    actor: Actor, path: Path, lose: Callable[[Path], None]
) -> None:
    store = actor.store
    assert [Outcome.ACCEPTED] == await store.commit([start()])
    await store.heartbeat(actor.worker)
    lose(path)

    with pytest.raises(DatabaseReplacedError, match=r"romancy\.db.* nothing more is written"):
        await store.heartbeat(actor.worker)

    for refused in (store.commit([start()]), store.read("x"), store.wait_for_work(0.0), store.heartbeat(actor.worker)):
        with pytest.raises(DatabaseReplacedError):
            await refused
    with pytest.raises(DatabaseReplacedError):
        async with store.services.sessions.begin():
            pass


@pytest.mark.parametrize("lose", [delete_all, replace])
async def test_who_waits_for_news_notices_without_a_worker(
    store: SqliteStore, path: Path, lose: Callable[[Path], None]
) -> None:
    lose(path)

    async def wait_for_ever() -> None:
        while True:
            await store.wait_for_work(1.0)

    with pytest.raises(DatabaseReplacedError):
        await wait_for_ever()


async def test_a_connection_that_meets_another_file_is_not_used(store: SqliteStore, path: Path) -> None:
    """A connection opened by name after the replacement would write elsewhere than the log."""
    make_anew(path)

    with pytest.raises(DatabaseReplacedError):
        async with store.services.sessions.begin() as session:
            await session.execute("create table mine (k text)")

    assert 0 == size_of(path)


async def test_a_file_that_stays_is_none_the_worse(actor: Actor, open_store: Open, path: Path) -> None:
    """Checkpoints, backups, other processes, another name: none of it counts as a replacement."""
    store = actor.store
    await store.heartbeat(actor.worker)
    log = log_of(path).stat().st_ino
    for _ in range(3):
        other = await open_store()
        assert [Outcome.ACCEPTED] == await other.commit([start()])
        await other.close()
        reader = sqlite3.connect(path)
        reader.execute("pragma wal_checkpoint(truncate)").fetchall()
        reader.execute("vacuum")
        reader.close()
        shutil.copy(path, path.with_name("backup.db"))
        touch(path)
        assert (await store.heartbeat(actor.worker)).alive
        assert [Outcome.ACCEPTED] == await store.commit([start()])

    assert log == log_of(path).stat().st_ino
    link = path.with_name("link.db")
    link.symlink_to(path)
    assert [Outcome.ACCEPTED] == await (await open_store(link)).commit([start()])
    assert (await store.heartbeat(actor.worker)).alive


async def test_the_file_in_its_place_can_be_opened(actor: Actor, open_store: Open, path: Path) -> None:
    delete_all(path)
    with pytest.raises(DatabaseReplacedError):
        await actor.store.heartbeat(actor.worker)

    fresh = await open_store()

    assert [Outcome.ACCEPTED] == await fresh.commit([start()])
