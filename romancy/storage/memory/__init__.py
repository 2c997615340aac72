"""The in-memory store, `memory://`, with the whole of the storage protocol.

`memory://` is private to its store. `memory://name` is shared by all stores of this process with that name, while at
least one of them exists.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from msgspec.structs import replace

from romancy.storage.memory._database import Database
from romancy.storage.memory._store import MemoryStore

if TYPE_CHECKING:
    from romancy.storage.url import StorageURL

__all__ = ["Database", "MemoryStore", "create_store", "mark_dead", "share"]

_shared: WeakValueDictionary[str, Database] = WeakValueDictionary()


def share(name: str, database: Database) -> None:
    """Make `memory://name` this database for as long as the caller keeps it."""
    _shared[name] = database


def mark_dead(database: Database, token: str) -> None:
    """Mark this worker dead, so that others need not wait until its lease expires."""
    row = database.tables["workers"].get((token,))
    if row is not None:
        database.tables["workers"][token,] = replace(row, dead=True)


def create_store(url: StorageURL) -> MemoryStore:
    """The store for a `memory://` URL."""
    url.take_options({})
    name = f"{url.host or ''}{url.path}"
    if not name:
        return MemoryStore()
    database = _shared.get(name)
    if database is None:
        database = _shared[name] = Database()
    return MemoryStore(database)
