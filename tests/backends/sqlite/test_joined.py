"""Sessions that join a caller's transaction, on SQLite."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

import pytest
from sqlite_utils import Database

from romancy.errors import StorageUnavailableError, UsageError
from romancy.storage.records import Outcome
from romancy_conformance.contract.building import start
from romancy_sqlite._driver import sqlite3
from tests.backends.sqlite.dogs import contents

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from romancy.storage.records import Append
    from romancy.storage.sessions import StoreSession
    from romancy_sqlite import SqliteStore

    Open = Callable[..., Awaitable[SqliteStore]]

pytestmark = pytest.mark.anyio


async def fail_in_a_part(session: StoreSession) -> None:
    async with session.savepoint():
        await session.execute("update dogs set age = ?", 78)
        raise LookupError


class TestJoined:
    """Sessions that join a caller's transaction."""

    @pytest.fixture
    def item(self) -> Append:
        return start()

    @pytest.mark.usefixtures("dogs")
    @pytest.mark.parametrize("begin", ["select 1", "begin", "begin immediate", "update dogs set age = 1"])
    async def test_the_caller_decides(self, store: SqliteStore, path: Path, item: Append, begin: str) -> None:
        for ending in ("rollback", "commit"):
            connection = sqlite3.connect(path)
            connection.execute(begin)
            async with store.services.sessions.join(connection) as session:
                await session.execute("update dogs set age = ?", 77)
                assert await session.commit(item) is Outcome.ACCEPTED
            assert await store.read(item.instance_id) is None

            getattr(connection, ending)()
            connection.close()

            assert (ending == "commit") == (await store.read(item.instance_id) is not None)
            assert (ending == "commit") == any("77" in line for line in contents(path))

    @pytest.mark.usefixtures("dogs")
    async def test_a_database_of_sqlite_utils_may_join(self, store: SqliteStore, path: Path, item: Append) -> None:
        database: Any = Database(path)

        with database.atomic():
            database["dogs"].update(1, {"age": 77})
            async with store.services.sessions.join(database) as session:
                assert session.native is database
                assert await session.commit(item) is Outcome.ACCEPTED
        database.close()

        assert await store.read(item.instance_id) is not None

    @pytest.mark.usefixtures("dogs")
    async def test_a_refused_item_and_a_failed_part_leave_the_rest(
        self, store: SqliteStore, path: Path, item: Append
    ) -> None:
        await store.commit([item])
        connection = sqlite3.connect(path)

        async with store.services.sessions.join(connection) as session:
            await session.execute("update dogs set age = ?", 77)
            with pytest.raises(LookupError):
                await fail_in_a_part(session)
            assert await session.commit(start(item.instance_id)) is Outcome.EXISTS
        connection.commit()
        connection.close()

        assert any("77" in line for line in contents(path))

    async def test_a_connection_elsewhere_is_refused(self, store: SqliteStore, tmp_path: Path, item: Append) -> None:
        connection = sqlite3.connect(tmp_path / "other.db")

        with pytest.raises(UsageError, match="another database"):
            async with store.services.sessions.join(connection) as session:
                await session.commit(item)

        connection.close()

    async def test_autocommit_without_a_transaction_is_refused(
        self, store: SqliteStore, path: Path, item: Append
    ) -> None:
        connection = sqlite3.connect(path, isolation_level=None)

        with pytest.raises(UsageError, match="BEGIN IMMEDIATE"):
            async with store.services.sessions.join(connection) as session:
                await session.commit(item)

        connection.close()

    @pytest.mark.skipif(sys.version_info < (3, 12), reason="sqlite3 has the setting from Python 3.12 on")
    @pytest.mark.parametrize("setting", [False, True])
    async def test_the_setting_of_autocommit_of_newer_pythons(
        self, store: SqliteStore, path: Path, item: Append, *, setting: bool
    ) -> None:
        options: dict[str, Any] = {"autocommit": setting}
        connection = sqlite3.connect(path, **options)
        if setting:
            connection.execute("begin immediate")

        async with store.services.sessions.join(connection) as session:
            assert await session.commit(item) is Outcome.ACCEPTED
        assert await store.read(item.instance_id) is None
        connection.execute("commit")
        connection.close()

        assert await store.read(item.instance_id) is not None

    async def test_anything_else_is_refused(self, store: SqliteStore) -> None:
        with pytest.raises(UsageError, match=r"\bint\b"):
            async with store.services.sessions.join(7):
                pass

    async def test_waiting_for_the_lock_never_stops_the_loop(
        self, store: SqliteStore, path: Path, item: Append
    ) -> None:
        connection = sqlite3.connect(path, timeout=30)

        async def join() -> Outcome:
            async with store.services.sessions.join(connection) as session:
                return await session.commit(item)

        async with store.services.sessions.begin() as holder:
            joining = asyncio.create_task(join())
            for _ in range(100):
                await asyncio.sleep(0)
            assert not joining.done()
            assert await holder.commit(start()) is Outcome.ACCEPTED

        assert await joining is Outcome.ACCEPTED
        connection.commit()
        assert (30_000,) == connection.execute("pragma busy_timeout").fetchone()
        connection.close()

    async def test_a_transaction_that_has_read_the_past_is_told_what_to_do(
        self, open_store: Open, path: Path, item: Append
    ) -> None:
        store = await open_store(lock_timeout=1)
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("begin")
        connection.execute("select * from romancy_instances").fetchall()
        await store.commit([start()])

        with pytest.raises(StorageUnavailableError, match="begin it with BEGIN IMMEDIATE"):
            async with store.services.sessions.join(connection) as session:
                await session.commit(item)

        connection.close()
