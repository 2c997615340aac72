"""The kind of server, from the version it reports."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from romancy.errors import StorageConfigurationError
from romancy_mysql._dialect import dialect_of, refuse_relatives

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

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


@pytest.mark.parametrize(
    "announced",
    [
        "8.0.11-TiDB-v7.5.0",
        "5.7.25-TiDB-v6.5.2",
        "8.0.11-tidb-v8.1.0-serverless",
    ],
)
def test_tidb_is_refused_by_name(announced: str) -> None:
    with pytest.raises(StorageConfigurationError, match="here: this server is TiDB, which does not work"):
        dialect_of(announced, "here")


@pytest.mark.anyio
@pytest.mark.backends("mysql", "mariadb")
async def test_tidb_under_another_version_is_known_by_its_comment(
    open_store: Callable[..., Awaitable[MySQLStore]],
) -> None:
    with pytest.raises(StorageConfigurationError, match="this server is TiDB"):
        refuse_relatives("TiDB Server (Apache License 2.0) Community Edition, MySQL 8.0 compatible", "here")
    asked: list[str] = []

    def note(comment: str, where: str) -> None:
        asked.append(comment)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("romancy_mysql._database.refuse_relatives", note)
        await open_store()
    assert len(asked) == 1
    assert asked[0]


@pytest.mark.parametrize("announced", ["8.0.12", "5.7.44-log", "5.5.5-10.5.29-MariaDB", "10.5.0-MariaDB", "8.0", "?"])
def test_what_is_too_old_or_unknown_is_refused(announced: str) -> None:
    with pytest.raises(StorageConfigurationError, match="here: "):
        dialect_of(announced, "here")
