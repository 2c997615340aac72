"""Whether the server at the other end can be used at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.errors import StorageConfigurationError

if TYPE_CHECKING:
    from romancy_postgres._database import Database

__all__ = ["OLDEST", "check_server"]

OLDEST = 13


async def check_server(database: Database) -> str:
    """The server's version; `StorageConfigurationError` if it is too old or not in Unicode."""
    ((number, version, encoding),) = await database.fetch("server")
    where = f"storage {database.settings.url}"
    if number < OLDEST * 10_000:
        raise StorageConfigurationError(
            f"{where}: PostgreSQL {_short(version)} is too old; upgrade the server, or name another one in the URL: "
            f"{OLDEST} or newer is needed"
        )
    if encoding != "UTF8":
        raise StorageConfigurationError(
            f"{where}: the database is encoded in {encoding}; create one with ENCODING 'UTF8' TEMPLATE template0"
        )
    return _short(version)


def _short(version: object) -> str:
    return str(version).split(" ", 1)[0]
