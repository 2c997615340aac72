"""The kind of server, from the version it reports."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from romancy.errors import StorageConfigurationError
from romancy.storage.backends import create_store
from romancy_mysql._dialect import check_product, dialect_of
from romancy_mysql.engines import tidb

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy_mysql._dialect import Dialect
    from romancy_mysql._store import MySQLStore


@pytest.mark.parametrize(
    ("announced", "name"),
    [
        ("9.7.4-2", "MySQL 9.7.4"),
        ("8.0.13", "MySQL 8.0.13"),
        ("8.0.36-28.1", "MySQL 8.0.36"),
        ("5.5.5-10.11.18-MariaDB-0+deb12u1", "MariaDB 10.11.18"),
        ("10.6.0-MariaDB", "MariaDB 10.6.0"),
        ("11.8.2-MariaDB-log", "MariaDB 11.8.2"),
    ],
)
def test_a_server_by_its_version(announced: str, name: str) -> None:
    assert dialect_of(announced, "here").name == name


TIDB = "TiDB Server (Apache License 2.0) Community Edition, MySQL 8.0 compatible"
"""The comment of a TiDB, whatever version it announces."""


@pytest.mark.parametrize(
    ("announced", "name"),
    [
        ("8.0.11-TiDB-v8.5.4", "TiDB 8.5.4"),
        ("8.0.40-TiDB-9.0.0-beta.2", "TiDB 9.0.0"),
        ("8.0.11-tidb-v8.5.1-serverless", "TiDB 8.5.1"),
    ],
)
def test_tidb_by_its_own_version(announced: str, name: str) -> None:
    dialect = dialect_of(announced, "here")

    assert dialect.name == name
    assert dialect.engine is tidb.ENGINE
    check_product(dialect, TIDB, "here")


@pytest.mark.parametrize("announced", ["8.0.11-TiDB-v8.1.0", "5.7.25-TiDB-v6.5.2", "8.0.11-TiDB-None"])
def test_a_tidb_that_is_too_old_or_unknown_is_refused_by_name(announced: str) -> None:
    with pytest.raises(StorageConfigurationError, match=r"here: .*TiDB"):
        dialect_of(announced, "here")


def test_tidb_under_the_version_of_a_mysql_needs_the_scheme_of_tidb() -> None:
    with pytest.raises(
        StorageConfigurationError, match=r"here: this server is TiDB, and calls itself MySQL 8\.0\.36; write tidb://"
    ):
        check_product(dialect_of("8.0.36", "here"), TIDB, "here")

    dialect = dialect_of("8.0.36", "here", scheme="tidb")

    assert dialect.name == "TiDB"
    check_product(dialect, TIDB, "here")


def test_a_mysql_behind_the_scheme_of_tidb_is_refused() -> None:
    with pytest.raises(StorageConfigurationError, match="here: this server is not TiDB but 'MySQL Community Server"):
        check_product(dialect_of("9.7.4", "here", scheme="tidb"), "MySQL Community Server - GPL", "here")


GATE = "Version: 21.0.0-SNAPSHOT (Git revision 1ae0 branch 'HEAD') built on a day by a@b using go1.23.3 linux/amd64"
"""The comment of the gate of a Vitess, whatever version it announces."""


def test_vitess_by_its_comment() -> None:
    dialect = dialect_of("8.0.30-Vitess", "here")

    assert dialect.name == "Vitess"
    assert check_product(dialect, GATE, "here").name == "Vitess 21.0.0"


@pytest.mark.parametrize(
    ("announced", "comment", "told"),
    [
        ("8.0.36", GATE, r"this server is Vitess, and calls itself MySQL 8\.0\.36; start vtgate with"),
        ("8.0.30-Vitess", GATE.replace("21.0.0", "20.0.3"), r"Vitess 20 is too old; 21\.0\.0 is the oldest"),
        ("8.0.30-Vitess", "MySQL Community Server - GPL", "its comment is not that of one"),
    ],
)
def test_a_vitess_that_hides_or_is_too_old_is_refused_by_name(announced: str, comment: str, told: str) -> None:
    with pytest.raises(StorageConfigurationError, match=f"here: .*{told}"):
        check_product(dialect_of(announced, "here"), comment, "here")


@pytest.mark.anyio
@pytest.mark.backends("mysql", "mariadb", "tidb")
async def test_each_server_is_asked_what_it_is(
    open_store: Callable[..., Awaitable[MySQLStore]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str]] = []

    def note(dialect: Dialect, comment: str, where: str) -> Dialect:
        asked.append((dialect.engine.product, comment))
        return dialect

    monkeypatch.setattr("romancy_mysql._database.check_product", note)
    await open_store()

    ((product, comment),) = asked
    assert (product == "TiDB") is ("TiDB" in comment)


@pytest.mark.anyio
@pytest.mark.backends("mysql", "mariadb")
async def test_the_scheme_of_tidb_opens_no_other_server(storage_url: str) -> None:
    _, _, rest = storage_url.partition("://")
    store = create_store(f"tidb://{rest}")

    with pytest.raises(StorageConfigurationError, match="write mysql:// or mariadb://"):
        await store.open()


@pytest.mark.anyio
@pytest.mark.backends("tidb")
async def test_a_tidb_that_names_itself_is_recognised_behind_the_scheme_of_mysql(storage_url: str) -> None:
    _, _, rest = storage_url.partition("://")
    store = create_store(f"mysql://{rest}")
    await store.open()
    try:
        assert store.capabilities.name.startswith("TiDB ")
    finally:
        await store.close()


@pytest.mark.parametrize("announced", ["8.0.12", "5.7.44-log", "5.5.5-10.5.29-MariaDB", "10.5.0-MariaDB", "8.0", "?"])
def test_what_is_too_old_or_unknown_is_refused(announced: str) -> None:
    with pytest.raises(StorageConfigurationError, match="here: "):
        dialect_of(announced, "here")
