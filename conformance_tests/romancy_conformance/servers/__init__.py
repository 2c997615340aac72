"""Real database servers for tests and benchmarks: private ones, started on first use, gone with the process.

    from romancy_conformance.servers import Kind, fresh_database

    url = fresh_database(Kind.POSTGRES)      # an empty database on the shared server of this run, "postgres" will do

    server = private_server(Kind.MYSQL)      # one of your own, to kill and freeze
    server.start()
    server.kill(); server.start(); server.freeze(); server.thaw()
    server.close()

`python -m romancy_conformance.servers up` starts all three and prints their URLs until Ctrl-C; what it prints,
exported, makes other processes use them. In pytest, `-p romancy_conformance.servers.plugin` brings fixtures.

A server is taken from the environment (ROMANCY_TEST_POSTGRES_URL, …MYSQL_URL, …MARIADB_URL), else its program is
found on the machine, else unpacked from Debian packages into a cache. Every one is as durable as in production.
"""

from __future__ import annotations

from .access import Access
from .kinds import Kind, ServerUnavailableError
from .run import Shared, current_run
from .server import Server

__all__ = [
    "Access",
    "Kind",
    "Server",
    "ServerUnavailableError",
    "Shared",
    "drop_database",
    "fresh_database",
    "private_server",
    "shared_server",
]


def shared_server(kind: Kind | str) -> Shared:
    """The server of `kind` that this run shares, started on first use."""
    return current_run().shared(Kind(kind))


def fresh_database(kind: Kind | str) -> str:
    """The URL of a new, empty database on the shared server; it goes with the server, or by `drop_database`."""
    return shared_server(kind).access.fresh_database()


def drop_database(kind: Kind | str, url: str) -> None:
    """Drop a database that `fresh_database` made, though it be in use."""
    shared_server(kind).access.drop_database(url.rpartition("/")[2])


def private_server(kind: Kind | str) -> Server:
    """A server of the caller's own, not started yet; close it after use."""
    return current_run().private(Kind(kind))
