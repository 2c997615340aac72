"""The differences between MySQL and MariaDB, in one place. Everything else is sent to both unchanged."""

from __future__ import annotations

import re

from msgspec import Struct

from romancy.errors import StorageConfigurationError

__all__ = ["Dialect", "dialect_of", "refuse_relatives"]

_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)")
_OLD_PREFIX = "5.5.5-"
"""MariaDB's prefix to its version, for clients that know no two-digit versions."""


class Dialect(Struct, frozen=True):
    """The server's product and version, whatever the URL's scheme says."""

    product: str
    version: tuple[int, int, int]

    @property
    def suffix(self) -> str:
        """Marks the migration files that are for this product alone."""
        return self.product.lower()

    @property
    def settings(self) -> str:
        """Further session settings for this product alone, as assignments of SET SESSION.

        MySQL sorts whole rows with their JSON, and fails if a row does not fit the sort buffer. It allocates the buffer
        as needed. Its estimates of the sizes of tables may be a day old unless they are asked for anew.
        """
        if self.product != "MySQL":
            return ""
        return f", sort_buffer_size = {_SORT_BUFFER}, information_schema_stats_expiry = 0"

    @property
    def name(self) -> str:
        """The name for people: `MariaDB 10.11.18`."""
        return f"{self.product} {'.'.join(map(str, self.version))}"


_SORT_BUFFER = 32 * 1024 * 1024
_OLDEST = {"MySQL": (8, 0, 13), "MariaDB": (10, 6, 0)}
"""For MySQL: defaults that are expressions. For MariaDB: SKIP LOCKED and JSON_TABLE."""


def refuse_relatives(announced: str, where: str) -> None:
    """Raise StorageConfigurationError for a server that speaks MySQL's protocol and does not lock as MySQL does.

    `announced` is its version, or the comment to it.
    """
    if "tidb" in announced.lower():
        raise StorageConfigurationError(
            f"{where}: this server is TiDB, which does not work: it accepts SKIP LOCKED and locks nothing by it, so "
            "two workers would run one workflow. Use MySQL, MariaDB, PostgreSQL or SQLite"
        )


def dialect_of(server_version: str, where: str) -> Dialect:
    """The dialect of a server, from the version it announces. `StorageConfigurationError` if it is too old."""
    refuse_relatives(server_version, where)
    product = "MariaDB" if "mariadb" in server_version.lower() else "MySQL"
    found = _VERSION.match(server_version.removeprefix(_OLD_PREFIX))
    if found is None:
        raise StorageConfigurationError(f"{where}: the server calls its version {server_version!r}, which is not known")
    version = (int(found[1]), int(found[2]), int(found[3]))
    if version < _OLDEST[product]:
        oldest = ".".join(map(str, _OLDEST[product]))
        raise StorageConfigurationError(
            f"{where}: {product} {server_version} is too old; {oldest} is the oldest that works"
        )
    return Dialect(product, version)
