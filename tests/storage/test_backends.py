"""Which store a URL selects, also where it names a driver."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from romancy.errors import StorageConfigurationError
from romancy.storage.backends import create_store
from romancy.storage.url import is_url, parse_url
from romancy_mysql._store import MySQLStore
from romancy_postgres._store import PostgresStore
from romancy_sqlite._store import SqliteStore

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("scheme", ["postgresql+asyncpg", "postgresql+psycopg", "postgres+asyncpg", "postgres+psycopg"])
def test_a_driver_of_postgresql_is_taken_off(scheme: str) -> None:
    assert isinstance(create_store(f"{scheme}://me:hunter2@db.example/orders?pool_size=3"), PostgresStore)


@pytest.mark.parametrize(
    "scheme", ["mysql+aiomysql", "mysql+pymysql", "mysql+asyncmy", "mariadb+aiomysql", "mariadb+pymysql"]
)
def test_a_driver_of_mysql_is_taken_off(scheme: str) -> None:
    assert isinstance(create_store(f"{scheme}://me:hunter2@db.example/orders"), MySQLStore)


@pytest.mark.parametrize("scheme", ["sqlite+aiosqlite", "sqlite+pysqlite", "SQLite+AioSQLite"])
def test_a_driver_of_sqlite_is_taken_off_and_the_file_is_the_same(scheme: str, tmp_path: Path) -> None:
    file = tmp_path / "orders.db"
    store = create_store(f"{scheme}:///{file}")

    assert isinstance(store, SqliteStore)
    assert parse_url(f"{scheme}:///{file}").without_driver().path == parse_url(f"sqlite:///{file}").path


@pytest.mark.parametrize("scheme", ["oracle", "oracle+oracledb", "sqlite+pysqlcipher", "memory+asyncpg", "post_gres"])
def test_an_unknown_scheme_is_named_as_it_was_written(scheme: str) -> None:
    with pytest.raises(StorageConfigurationError) as caught:
        create_store(f"{scheme}://me:hunter2@db.example/orders")

    assert repr(scheme) in str(caught.value)
    assert "postgresql" in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("beginning", ["", "+asyncpg", "my database"])
def test_what_is_no_scheme_is_refused_without_the_rest(beginning: str) -> None:
    with pytest.raises(StorageConfigurationError, match="no scheme") as caught:
        create_store(f"{beginning}://me:hunter2@db.example/orders")

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "path",
    ["users.db", "/var/lib/users.sqlite", "a folder/b.SQLITE3", "50%?#.db", "C:\\data\\users.db", "größe.db"],
)
def test_the_path_of_a_database_file_stands_for_its_url(path: str) -> None:
    parsed = parse_url(path)

    assert ("sqlite", f"/{path}", None, {}) == (parsed.scheme, parsed.path, parsed.host, parsed.options)
    assert parsed.path == parse_url(parsed.original).path
    assert is_url(path)


@pytest.mark.parametrize(
    ("text", "problem", "meant"),
    [
        ("users", "no scheme", False),
        ("users.txt", "no scheme", False),
        (".db", "no scheme", False),
        ("bob:hunter2@db.example/x.db", "no scheme", False),
        ("shop:app", "no scheme", False),
        ("postgres//bob:hunter2@h/x.db", "needs ://", True),
    ],
)
def test_other_texts_without_a_scheme_are_refused(text: str, problem: str, *, meant: bool) -> None:
    assert meant is is_url(text)
    with pytest.raises(StorageConfigurationError, match=problem) as caught:
        parse_url(text)
    assert "hunter2" not in str(caught.value)


def test_a_scheme_whose_driver_is_missing_stays_as_it_is() -> None:
    assert "postgresql" == parse_url("postgresql://db.example/orders").without_driver().scheme
    assert "postgresql+" == parse_url("postgresql+://db.example/orders").without_driver().scheme
