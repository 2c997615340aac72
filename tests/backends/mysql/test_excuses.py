"""Which errors in a session are not charged to the activity, by `execute` or by the native object; and which are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aiomysql
import pymysql.err
import pytest

from romancy.errors import StorageUnavailableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy_mysql._connection import Wire
    from romancy_mysql._store import MySQLStore

    Theirs = Callable[..., Awaitable[aiomysql.Connection]]

pytestmark = [pytest.mark.anyio, pytest.mark.backends("mysql", "mariadb")]

NOBODYS = [1213, 1205, 1020, 1290, 1792, 1836, 1021, 1114, 2013, 1053]
USERS = [1062, 1064, 1365, 1406, 1644, 3024, 1969]


def fail(code: int) -> str:
    return f"signal sqlstate '45000' set mysql_errno = {code}, message_text = 'as told'"


async def by_cursor(native: aiomysql.Connection, code: int) -> None:
    cursor = await native.cursor()
    await cursor.execute(fail(code))


async def unbuffered(native: aiomysql.Connection, code: int) -> None:
    cursor = await native.cursor(aiomysql.SSCursor)
    await cursor.execute(fail(code))


async def by_many(native: aiomysql.Connection, code: int) -> None:
    cursor = await native.cursor()
    await cursor.executemany("signal sqlstate '45000' set mysql_errno = %s", [(code,)])


async def in_a_block(native: aiomysql.Connection, code: int) -> None:
    async with native.cursor() as cursor:
        await cursor.execute(fail(code))


async def as_a_further_result(native: aiomysql.Connection, code: int) -> None:
    cursor: Any = await native.cursor()
    await cursor.execute(f"select 1; {fail(code)}")
    await cursor.nextset()


WAYS = [by_cursor, unbuffered, by_many, in_a_block, as_a_further_result]


async def test_only_an_error_that_is_not_the_users_is_unavailable(store: MySQLStore) -> None:
    for code in NOBODYS:
        for call in ("execute", "fetch_all"):
            async with store.services.sessions.begin() as session:
                with pytest.raises(StorageUnavailableError, match=str(code)):
                    await getattr(session, call)(fail(code))
    for code in USERS:
        async with store.services.sessions.begin() as session:
            with pytest.raises(pymysql.err.MySQLError) as raised:
                await session.execute(fail(code))
        assert raised.value.args[0] == code


async def test_the_native_objects_errors_are_known_whatever_raised_them(store: MySQLStore) -> None:
    for way in WAYS:
        for code, nobodys in ((1213, True), (1290, True), (3024, False), (1062, False)):
            async with store.services.sessions.begin() as session:
                with pytest.raises(pymysql.err.MySQLError) as raised:
                    await way(session.native, code)
                excuse = session.excuse(raised.value)
                assert nobodys == (excuse is not None), (way.__name__, code)
                assert excuse is None or str(code) in str(excuse)


async def test_errors_of_other_connections_are_their_users(store: MySQLStore, theirs: Theirs) -> None:
    other = await theirs()
    async with store.services.sessions.begin() as session:
        with pytest.raises(pymysql.err.MySQLError) as raised:
            await by_cursor(other, 1213)
        assert session.excuse(raised.value) is None
        assert session.excuse(ValueError("of the user's")) is None


async def test_a_lost_connection_excuses_what_was_asked_of_it_and_nothing_else(store: MySQLStore, wire: Wire) -> None:
    async with store.services.sessions.begin() as session:
        (row,) = await session.fetch_all("select connection_id() as id")
        await wire.run(b"kill %d" % row["id"], "test")
        cursor = await session.native.cursor()
        with pytest.raises(pymysql.err.MySQLError) as raised:
            await cursor.execute("select sleep(60)")
        with pytest.raises(pymysql.err.MySQLError) as again:
            await cursor.execute("select 1")

        assert session.excuse(raised.value) is not None
        assert session.excuse(again.value) is not None
        assert session.excuse(ValueError("of the user's")) is None


async def test_an_error_of_a_joined_connection_is_not_excused(store: MySQLStore, theirs: Theirs) -> None:
    mine = await theirs(autocommit=False)
    await mine.begin()
    async with store.services.sessions.join(mine) as session:
        with pytest.raises(pymysql.err.MySQLError) as raised:
            await by_cursor(mine, 1213)
        assert session.excuse(raised.value) is None
    await mine.rollback()
