"""Where MySQL and MariaDB differ, declared in one place. Everything not here is sent to both in the same words."""

from __future__ import annotations

import re

from msgspec import Struct

from romancy.errors import StorageConfigurationError

__all__ = ["Dialect", "dialect_of"]

_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)")
_OLD_PREFIX = "5.5.5-"
"""What MariaDB puts before its version for clients that know no two-digit ones."""


class Dialect(Struct, frozen=True):
    """What the server is, whatever the URL's scheme says."""

    product: str
    version: tuple[int, int, int]

    @property
    def suffix(self) -> str:
        """Marks the migration files that are for this product alone."""
        return self.product.lower()

    @property
    def settings(self) -> str:
        """What this product alone needs set in a session, as further assignments of SET SESSION.

        MySQL sorts whole rows with their JSON, and fails where one does not fit; it takes memory only as it needs it.
        """
        return f", sort_buffer_size = {_SORT_BUFFER}" if self.product == "MySQL" else ""

    @property
    def name(self) -> str:
        """For people: `MariaDB 10.11.18`."""
        return f"{self.product} {'.'.join(map(str, self.version))}"


_SORT_BUFFER = 32 * 1024 * 1024
_OLDEST = {"MySQL": (8, 0, 13), "MariaDB": (10, 6, 0)}
"""MySQL: defaults that are expressions. MariaDB: SKIP LOCKED and JSON_TABLE."""


def dialect_of(server_version: str, where: str) -> Dialect:
    """The dialect of a server by the version it announces; `StorageConfigurationError` if it is too old."""
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
