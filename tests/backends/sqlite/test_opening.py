"""Files that cannot be opened, and the errors for them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from romancy import Romancy
from romancy.errors import InternalError, SchemaVersionError, StorageConfigurationError
from romancy.storage.records import Outcome
from romancy.storage.url import parse_url
from romancy_conformance.contract.building import full_log, start
from romancy_sqlite import _connection, _file, _migrations, create_store
from romancy_sqlite._driver import sqlite3

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from romancy_sqlite import SqliteStore
    from romancy_sqlite._settings import Settings

pytestmark = pytest.mark.anyio

# Root may write everywhere, so the process drops its privileges after it has imported everything.
_OPEN_AS_NOBODY = """
import asyncio, os, sys, tempfile
from romancy.storage.backends import create_store
with tempfile.TemporaryDirectory() as folder:
    warm = create_store(f"sqlite:///{folder}/x.db")
    asyncio.run(warm.open())
    asyncio.run(warm.close())
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
try:
    asyncio.run(create_store(sys.argv[1]).open())
except Exception as error:
    print(f"{type(error).__name__}: {error}")
"""


def open_as_nobody(path: Path) -> str:
    """Return the error when a process without privileges opens the file."""
    command = [sys.executable, "-c", _OPEN_AS_NOBODY, f"sqlite:///{path}"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def threads_of(path: Path) -> list[threading.Thread]:
    """Return the threads that write to this file."""
    return [thread for thread in threading.enumerate() if str(path) in thread.name]


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that others can reach; those of pytest are private."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


async def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    store = create_store(parse_url(f"sqlite:///{tmp_path}/missing/x.db"))

    with pytest.raises(StorageConfigurationError, match=r"missing does not exist; create it"):
        await store.open()


async def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(StorageConfigurationError, match="name a file in it"):
        await create_store(parse_url(f"sqlite:///{tmp_path}")).open()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="Linux has /proc, which takes no files")
@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("sqlite:////proc/x.db", r"SQLite file /proc/x\.db: cannot be created \(its file system takes no new files\)"),
        ("sqlite:////dev/null", r"SQLite file /dev/null: this is a device, a pipe or a socket; name a file"),
    ],
)
@pytest.mark.parametrize("worker", [True, False])
async def test_a_place_where_no_file_can_be_made_is_named_at_once(url: str, why: str, *, worker: bool) -> None:
    with pytest.raises(StorageConfigurationError, match=why):
        await Romancy(url, workflows=[], worker=worker).__aenter__()


def test_another_kind_of_file_is_refused_and_left_alone(path: Path) -> None:
    path.write_bytes(b"Dear diary, " * 100)

    with pytest.raises(StorageConfigurationError, match="not an SQLite database"):
        asyncio.run(create_store(parse_url(f"sqlite:///{path}")).open())

    assert path.read_bytes() == b"Dear diary, " * 100


@pytest.mark.parametrize("mode", [0o400, 0o444], ids=["of another user", "read-only"])
def test_a_file_without_permission_is_refused(public_folder: Path, mode: int) -> None:
    file = public_folder / "x.db"
    file.touch(mode=mode)

    answer = open_as_nobody(file)

    assert answer.startswith(f"StorageConfigurationError: SQLite file {file}: this user may not write")
    assert "`chmod 660` shares it with its group" in answer
    assert file.read_bytes() == b""


def test_a_folder_without_permission_is_refused(public_folder: Path) -> None:
    public_folder.chmod(0o555)

    answer = open_as_nobody(public_folder / "x.db")

    assert "StorageConfigurationError" in answer
    assert "cannot be created (Permission denied)" in answer


def test_an_old_sqlite_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 33, 9))

    with pytest.raises(StorageConfigurationError, match=r"needs 3\.34\.0 or newer"):
        asyncio.run(create_store(parse_url(f"sqlite:///{path}")).open())

    assert (3, 34, 0) == _connection.MINIMUM_VERSION
    assert not path.exists()


async def test_a_cancelled_open_leaves_nothing_open(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, go_on = threading.Event(), threading.Event()

    def acquire(settings: Settings) -> _file.SharedFile:
        shared = acquire_file(settings)
        opened.set()
        go_on.wait(10)
        return shared

    acquire_file = _file.acquire
    monkeypatch.setattr(_file, "acquire", acquire)
    opening = asyncio.ensure_future(create_store(parse_url(f"sqlite:///{path}")).open())
    await asyncio.to_thread(opened.wait, 10)
    (writer,) = threads_of(path)

    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    go_on.set()
    await asyncio.to_thread(writer.join, 10)

    assert threads_of(path) == []


async def test_durability_is_not_an_option(store: SqliteStore) -> None:
    async with store.services.sessions.begin() as session:
        pragmas = {
            name: next(iter((await session.fetch_all(f"pragma {name}"))[0].values()))
            for name in ("journal_mode", "synchronous", "wal_autocheckpoint")
        }

    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "wal_autocheckpoint": 0}


async def test_tables_are_named_as_the_url_asks(
    open_store: Callable[..., Awaitable[SqliteStore]], store: SqliteStore
) -> None:
    other = await open_store(prefix="shop_")
    item = start()
    await other.commit([item])

    assert await store.read(item.instance_id) is None
    assert len(await full_log(other, item.instance_id)) == 1
    async with other.services.sessions.begin() as session:
        rows = await session.fetch_all("select name from sqlite_master where name not like 'sqlite%'")
    assert {"romancy", "shop"} == {row["name"].split("_")[0] for row in rows} - {"idx"}


async def test_an_unmigrated_file_is_refused_when_migrations_are_not_wanted(path: Path) -> None:
    store = create_store(parse_url(f"sqlite:///{path}"))

    with pytest.raises(SchemaVersionError, match="older"):
        await store.open(migrate=False)
    assert not path.exists()  # noqa: ASYNC240 - nothing else runs

    path.touch()  # noqa: ASYNC240 - nothing else runs
    with pytest.raises(SchemaVersionError, match="no tables of Romancy yet"):
        await store.open(migrate=False)

    await store.open()
    await store.close()
    await store.open(migrate=False)
    await store.close()


async def test_a_migration_that_fails_leaves_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def break_script(sql: str, prefix: str) -> str:
        return sql + f"create table {prefix}log (oops integer);"

    with monkeypatch.context() as broken:
        broken.setattr(_migrations, "with_prefix", break_script)
        with pytest.raises(InternalError, match="already exists"):
            await create_store(parse_url(f"sqlite:///{path}")).open()
    connection = sqlite3.connect(path)
    tables = connection.execute("select name from sqlite_master").fetchall()
    connection.close()
    store = create_store(parse_url(f"sqlite:///{path}"))

    await store.open()

    assert tables == []
    assert await store.commit([start()]) == [Outcome.ACCEPTED]
    await store.close()
