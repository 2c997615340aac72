"""The PostgreSQL adapter, over asyncpg: `postgresql://user:password@host:5432/database?option=value`.

Of several hosts (`@one:5432,other:5433`), the primary is used.

Options of the URL:

- `prefix` of the tables (`romancy_`), and `schema` for them, made if it is missing (default: the search path);
- `host`: a folder with the server's Unix socket, in place of the URL's host, or a list of hosts; `port`: theirs;
- `target_session_attrs`: `primary` (the default with several hosts), `read-write` or `any`;
- `pool_size` (10): connections for the engine and for sessions. Besides these there are up to two for searches, and one
  each for heartbeats and LISTEN;
- `connect_timeout` (10) in seconds, for each host, and `session_idle_timeout` (30), after which the server ends a
  session that is idle inside its transaction;
- `pooler=transaction`: a pooler in transaction mode stands between; no LISTEN through it, and prepared statements only
  if it keeps them;
- `listen_url`: a URL of the server itself, for LISTEN alone, where a pooler stands between;
- `listen=off`: do not listen for wake-ups, but poll once a second;
- `sslmode` and `sslrootcert`, as in libpq;
- `durability=relaxed`: accept the server as it is. With `full`, the default, every commit waits for the disk
  (`synchronous_commit`), whatever the server's settings, and a server with `fsync = off` is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.errors import StorageConfigurationError
from romancy.storage.drivers import check_driver

if TYPE_CHECKING:
    from romancy.storage.url import StorageURL
    from romancy_postgres._store import PostgresStore

__all__ = ["create_store"]


def create_store(url: StorageURL) -> PostgresStore:
    """The unopened store for a `postgresql://` URL. Nothing is connected yet."""
    try:
        # Imported here so that a missing driver raises an error in this call, with a hint, and not earlier.
        import asyncpg  # noqa: PLC0415

        check_driver("asyncpg", asyncpg.__version__)
        from romancy_postgres._settings import read_settings  # noqa: PLC0415
        from romancy_postgres._store import PostgresStore  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("asyncpg"):
            raise
        raise StorageConfigurationError(
            f"storage URL {url}: the driver asyncpg is not installed; pip install 'romancy[postgres]'"
        ) from error
    return PostgresStore(read_settings(url))
