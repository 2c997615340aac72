"""The SQLite adapter: one file, several processes, the same promises as a server.

`sqlite:///orders.db` is relative to the working directory, `sqlite:////var/lib/orders.db` absolute. Options of the
URL: `prefix` (of the table names), `lock_timeout` (seconds to wait for other processes), `session_limit` (seconds
that a session may hold the file).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy_sqlite._settings import read_settings
from romancy_sqlite._store import SqliteStore

if TYPE_CHECKING:
    from romancy.storage.url import StorageURL

__all__ = ["SqliteStore", "create_store"]


def create_store(url: StorageURL) -> SqliteStore:
    """The unopened store for a `sqlite://` URL; the file is not touched yet."""
    return SqliteStore(read_settings(url))
