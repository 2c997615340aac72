"""The statements, stored bytes and written bytes of a database, from its own counters; comparable for all libraries."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from romancy_conformance.servers import Kind, shared_server

if TYPE_CHECKING:
    from romancy_conformance.servers import Access

__all__ = ["Weight", "weigh"]


class Weight(Struct, frozen=True):
    """The counters of a database at one moment. SQLite is part of the process and counts no statements."""

    stored: int
    """Bytes of its files, or of its tables."""
    written: int
    """Bytes written to its log; for SQLite, bytes that the process has written to the disk."""
    asked: int
    """Statements on MySQL and MariaDB, transactions on PostgreSQL."""

    def since(self, before: Weight) -> Weight:
        """Return what was added."""
        return Weight(self.stored - before.stored, self.written - before.written, self.asked - before.asked)


def weigh(database: str, url: str, pid: int) -> Weight:
    """Read the counters of the database at `url`; `pid` is the process that uses it."""
    if database == "sqlite":
        path = Path(url.removeprefix("sqlite:///"))
        stored = sum(one.stat().st_size for one in path.parent.glob(f"{path.name}*"))
        io = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text(encoding="ascii").splitlines())
        return Weight(stored, int(io["write_bytes"]), 0)
    access, name = shared_server(Kind(database)).access, url.rpartition("/")[2]
    return _postgres(access, name) if database == "postgres" else _mysql(access, database, name)


def _postgres(access: Access, name: str) -> Weight:
    asked = f"SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = '{name}'"  # noqa: S608 - a statement of this module
    return Weight(
        int(access.fetch(f"SELECT pg_database_size('{name}')")),
        int(access.fetch("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint")),
        int(access.fetch(asked)),
    )


def _mysql(access: Access, database: str, name: str) -> Weight:
    files = "innodb_sys_tablespaces" if database == "mariadb" else "innodb_tablespaces"
    counters = "information_schema" if database == "mariadb" else "performance_schema"

    def counter(what: str) -> int:
        value = f"SELECT VARIABLE_VALUE FROM {counters}.global_status WHERE VARIABLE_NAME = '{what}'"  # noqa: S608 - a statement of this module
        return int(access.fetch(value))

    stored = f"SELECT sum(file_size) FROM information_schema.{files} WHERE name LIKE '{name}/%'"  # noqa: S608 - a statement of this module
    return Weight(int(access.fetch(stored)), counter("Innodb_os_log_written"), counter("Questions"))
