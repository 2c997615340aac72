"""The SQLite adapter: one file, several processes, the same promises as a server.

`sqlite:///orders.db` is relative to the working directory, `sqlite:////var/lib/orders.db` absolute. Options of the URL:
`prefix` (of the table names; `romancy_`), `lock_timeout` (seconds to wait for other processes; 60), `session_limit`
(seconds that a session may keep every other writer waiting; 30).

A file requires: a local disk (write-ahead logging needs shared memory, which network folders lack); a folder as
writable as the file; sessions that open last and close soon; no fork while it is open; and backups by SQLite's own
means (`vacuum into`), because the newest commits stand beside the file in its `-wal` companion.

`memory://` is the same store over a database in memory (`_memory.py`), which ends with its process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy_sqlite._memory import MemoryStore, memory_store
from romancy_sqlite._settings import read_settings
from romancy_sqlite._store import SqliteStore

if TYPE_CHECKING:
    from romancy.storage.url import StorageURL

__all__ = ["MemoryStore", "SqliteStore", "create_store", "memory_store"]


def create_store(url: StorageURL) -> SqliteStore:
    """The unopened store for a `sqlite://` URL. The file is not touched yet."""
    return SqliteStore(read_settings(url))
