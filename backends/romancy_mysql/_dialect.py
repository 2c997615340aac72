"""The differences between MySQL, MariaDB, TiDB and Vitess that lie in their version, in one place.

What TiDB cannot say in the same words is in `tidb.sql`, and what it cannot do in the same steps in `_tidb.py`; likewise
for Vitess.
Everything else is sent to all of them unchanged.
"""

from __future__ import annotations

import re

from msgspec import Struct

from romancy.errors import StorageConfigurationError
from romancy_mysql import _tidb, _vitess

__all__ = ["Dialect", "check_product", "dialect_of"]

_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)")
_OLD_PREFIX = "5.5.5-"
"""MariaDB's prefix to its version, for clients that know no two-digit versions."""
_TIDB = re.compile(r".*TiDB-v?", re.IGNORECASE)
"""What TiDB writes before its own version: the version of MySQL that it imitates."""
_VITESS = re.compile(r"Version: (\d+)\.(\d+)\.(\d+).* \(Git revision ")
"""How the gate of a Vitess begins its comment, whatever version it announces."""
_UNKNOWN = (0, 0, 0)
_SORT_BUFFER = 32 * 1024 * 1024
_OLDEST = {"MySQL": (8, 0, 13), "MariaDB": (10, 6, 0), "TiDB": (8, 5, 0), "Vitess": (21, 0, 0)}
"""For MySQL: defaults that are expressions. For MariaDB: SKIP LOCKED and JSON_TABLE. For TiDB and Vitess: the oldest
ones tried.
"""


class Dialect(Struct, frozen=True):
    """The server's product and version, whatever the URL's scheme says."""

    product: str
    version: tuple[int, int, int]

    @property
    def tidb(self) -> bool:
        """Whether it is TiDB, which has scripts and steps of its own."""
        return self.product == "TiDB"

    @property
    def vitess(self) -> bool:
        """Whether it is the gate of a Vitess, which has scripts and steps of its own."""
        return self.product == "Vitess"

    @property
    def suffix(self) -> str:
        """Marks the migration files that are for this product alone. Vitess has no JSON_TABLE either."""
        return "tidb" if self.vitess else self.product.lower()

    @property
    def settings(self) -> str:
        """Further session settings for this product alone, as assignments of SET SESSION.

        MySQL sorts whole rows with their JSON, and fails if a row does not fit the sort buffer. It allocates the buffer
        as needed. Its estimates of the sizes of tables may be a day old unless they are asked for anew.
        """
        if self.tidb:
            return "".join(f", {name} = {value}" for name, value in _tidb.SETTINGS.items())
        if self.product not in ("MySQL", "Vitess"):
            return ""
        further = _vitess.SETTINGS if self.vitess else ""
        return f", sort_buffer_size = {_SORT_BUFFER}, information_schema_stats_expiry = 0{further}"

    @property
    def name(self) -> str:
        """The name for people: `MariaDB 10.11.18`. A TiDB may not tell its version."""
        return self.product if self.version == _UNKNOWN else f"{self.product} {'.'.join(map(str, self.version))}"


def dialect_of(server_version: str, where: str, *, tidb: bool = False) -> Dialect:
    """The dialect of a server, from the version it announces. `StorageConfigurationError` if it is too old.

    `tidb`: the URL says that it is TiDB, which can be told to announce the version of a MySQL.
    """
    if "vitess" in server_version.lower():
        return Dialect("Vitess", _UNKNOWN)
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


def check_product(dialect: Dialect, comment: str, where: str) -> Dialect:
    """The dialect with its version. StorageConfigurationError if a server is not what its version or the URL says.

    The version that TiDB announces can be chosen in its configuration. The comment to it cannot. TiDB has to be known:
    it accepts statements of MySQL's and locks nothing by them. So has Vitess, which changes sessions.
    """
    if (gate := _VITESS.match(comment)) is not None or dialect.vitess:
        return _checked_gate(dialect, gate, where)
    if ("tidb" in comment.lower()) is dialect.tidb:
        return dialect
    if dialect.tidb:
        raise StorageConfigurationError(
            f"{where}: this server is not TiDB but {comment!r}; write mysql:// or mariadb:// in the URL"
        )
    raise StorageConfigurationError(
        f"{where}: this server is TiDB, and calls itself {dialect.name}; write tidb:// in the URL"
    )


def _checked_gate(dialect: Dialect, gate: re.Match[str] | None, where: str) -> Dialect:
    if not dialect.vitess:
        raise StorageConfigurationError(
            f"{where}: this server is Vitess, and calls itself {dialect.name}; start vtgate with a "
            "--mysql_server_version that ends in -Vitess, as it is by default"
        )
    if gate is None:
        raise StorageConfigurationError(f"{where}: this server calls itself Vitess, and its comment is not that of one")
    version = (int(gate[1]), int(gate[2]), int(gate[3]))
    if version < _OLDEST["Vitess"]:
        oldest = ".".join(map(str, _OLDEST["Vitess"]))
        raise StorageConfigurationError(f"{where}: Vitess {gate[1]} is too old; {oldest} is the oldest that works")
    return Dialect("Vitess", version)
