"""Array types: the driver asks for PostgreSQL's own once in a process, and for a database's own on each connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from romancy_postgres import _array_types
from romancy_postgres._array_types import ArrayTypesConnection

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Connect = Callable[[], Awaitable[asyncpg.Connection]]

pytestmark = [pytest.mark.anyio, pytest.mark.backends("postgres")]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[frozenset[int]]:
    """The types that the driver has asked for, in a process that knows none."""
    asked: list[frozenset[int]] = []
    ask: Any = vars(asyncpg.Connection)["_introspect_types"]

    async def noted(connection: asyncpg.Connection, typeoids: Any, *rest: Any) -> Any:
        asked.append(frozenset(typeoids))
        return await ask(connection, typeoids, *rest)

    monkeypatch.setattr(asyncpg.Connection, "_introspect_types", noted)
    monkeypatch.setattr(_array_types, "_known", {})
    return asked


@pytest.fixture
async def connect(storage_url: str) -> AsyncIterator[Connect]:
    """Open one more connection."""
    opened: list[asyncpg.Connection] = []

    async def one() -> asyncpg.Connection:
        opened.append(await asyncpg.connect(storage_url, connection_class=ArrayTypesConnection))
        return opened[-1]

    yield one
    for connection in opened:
        await connection.close()


async def test_arrays_of_postgresqls_own_types_are_asked_for_once(
    asked: list[frozenset[int]], connect: Connect
) -> None:
    for _ in range(3):
        connection = await connect()
        assert [1, None, 2] == await connection.fetchval("select $1::int8[]", [1, None, 2])
        assert b"a" == await connection.fetchval("select ($1::bytea[])[1]", [b"a"])
    assert 2 == len(asked)


async def test_types_of_a_database_are_asked_for_on_each_connection(
    asked: list[frozenset[int]], connect: Connect
) -> None:
    """Another database may have another type of the same number."""
    for definition in ("(width int, height int)", "(width int, name text)"):
        connection = await connect()
        await connection.execute(f"drop type if exists size; create type size as {definition}")
        await connection.fetchval("select $1::int8[]", [1])
        wide = await connection.fetchval("select row(1, '2')::size")
        assert 1 == wide["width"]
    assert 3 == len(asked)


async def test_a_statement_without_a_name_is_still_the_prepared_one(connect: Connect) -> None:
    """The driver sends a statement again after its own query has taken its place, and only then."""
    for _ in range(2):
        connection = await connect()
        rows = await connection.fetch("select unnest($1::int2[]) as one", [3, 4])
        await connection.executemany("select $1::int4[]", [([1],), ([2],)])
        assert [3, 4] == [row["one"] for row in rows]
