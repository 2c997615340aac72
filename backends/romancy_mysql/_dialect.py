"""The differences between MySQL, MariaDB and TiDB that lie in their version, in one place.

What TiDB cannot say in the same words is in `tidb.sql`, and what it cannot do in the same steps in `_tidb.py`.
Everything else is sent to all of them unchanged.
"""

from __future__ import annotations

import re

from msgspec import Struct

from romancy.errors import StorageConfigurationError
from romancy_mysql import _tidb

__all__ = ["Dialect", "check_product", "dialect_of"]

_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)")
_OLD_PREFIX = "5.5.5-"
"""MariaDB's prefix to its version, for clients that know no two-digit versions."""
_TIDB = re.compile(r".*TiDB-v?", re.IGNORECASE)
"""What TiDB writes before its own version: the version of MySQL that it imitates."""
_VITESS_COMMENT = re.compile(r"Version: .* \(Git revision ")
"""How the gate of a Vitess begins its comment, whatever version it announces."""
_NOT_VITESS = "{where}: this server is Vitess, on which Romancy does not run; name the MySQL below it, or another one"
_UNKNOWN = (0, 0, 0)
_SORT_BUFFER = 32 * 1024 * 1024
_OLDEST = {"MySQL": (8, 0, 13), "MariaDB": (10, 6, 0), "TiDB": (8, 5, 0)}
"""For MySQL: defaults that are expressions. For MariaDB: SKIP LOCKED and JSON_TABLE. For TiDB: the oldest one tried."""


class Dialect(Struct, frozen=True):
    """The server's product and version, whatever the URL's scheme says."""

    product: str
    version: tuple[int, int, int]

    @property
    def tidb(self) -> bool:
        """Whether it is TiDB, which has scripts and steps of its own."""
        return self.product == "TiDB"

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
        if self.tidb:
            return "".join(f", {name} = {value}" for name, value in _tidb.SETTINGS.items())
        if self.product != "MySQL":
            return ""
        return f", sort_buffer_size = {_SORT_BUFFER}, information_schema_stats_expiry = 0"

    @property
    def name(self) -> str:
        """The name for people: `MariaDB 10.11.18`. A TiDB may not tell its version."""
        return self.product if self.version == _UNKNOWN else f"{self.product} {'.'.join(map(str, self.version))}"


def dialect_of(server_version: str, where: str, *, tidb: bool = False) -> Dialect:
    """The dialect of a server, from the version it announces. `StorageConfigurationError` if it is too old.

    `tidb`: the URL says that it is TiDB, which can be told to announce the version of a MySQL.
    """
    if "vitess" in server_version.lower():
        raise StorageConfigurationError(_NOT_VITESS.format(where=where))
    names_itself = "tidb" in server_version.lower()
    if tidb and not names_itself:
        return Dialect("TiDB", _UNKNOWN)
    product = "TiDB" if names_itself else "MariaDB" if "mariadb" in server_version.lower() else "MySQL"
    found = _VERSION.match(_TIDB.sub("", server_version) if names_itself else server_version.removeprefix(_OLD_PREFIX))
    if found is None:
        raise StorageConfigurationError(f"{where}: the server calls its version {server_version!r}, which is not known")
    version = (int(found[1]), int(found[2]), int(found[3]))
    if version < _OLDEST[product]:
        oldest = ".".join(map(str, _OLDEST[product]))
        raise StorageConfigurationError(
            f"{where}: {product} {server_version} is too old; {oldest} is the oldest that works"
        )
    return Dialect(product, version)


def check_product(dialect: Dialect, comment: str, where: str) -> None:
    """Raise StorageConfigurationError if a server is not what its version or the URL says.

    The version that TiDB announces can be chosen in its configuration. The comment to it cannot. TiDB has to be known:
    it accepts statements of MySQL's and locks nothing by them. So has Vitess, which changes sessions.
    """
    if _VITESS_COMMENT.match(comment):
        raise StorageConfigurationError(_NOT_VITESS.format(where=where))
    if ("tidb" in comment.lower()) is dialect.tidb:
        return
    if dialect.tidb:
        raise StorageConfigurationError(
            f"{where}: this server is not TiDB but {comment!r}; write mysql:// or mariadb:// in the URL"
        )
    raise StorageConfigurationError(
        f"{where}: this server is TiDB, and calls itself {dialect.name}; write tidb:// in the URL"
    )
