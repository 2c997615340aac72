"""Real database servers for tests and benchmarks: private, durable, started on first use, gone with the process.

    from romancy_conformance.servers import Kind, fresh_database, private_server

    url = fresh_database(Kind.POSTGRES)      # an empty database on the server that this run shares ("postgres" will do)

    server = private_server(Kind.MYSQL)      # one of your own, to kill and freeze
    server.start()
    url = server.fresh_database()
    server.kill(); server.start(); server.freeze(); server.thaw()
    server.close()

`python -m romancy_conformance.servers up` starts all three and prints their URLs until Ctrl-C; what it prints,
exported, makes other processes use them. In pytest `-p romancy_conformance.servers.plugin` brings the fixtures.

A server is named by the environment (ROMANCY_TEST_POSTGRES_URL, …MYSQL_URL, …MARIADB_URL), else its program is
found on the machine, else unpacked from Debian packages into a cache; ROMANCY_TEST_POSTGRES_SUITE=sid asks for
the program of another Debian suite.
"""

from __future__ import annotations

from .access import Access, AccessError, Shared
from .databases import fresh_database, give_back, migrated_database, private_server, shared_server
from .kinds import Kind, ServerUnavailableError
from .server import Server

__all__ = [
    "Access",
    "AccessError",
    "Kind",
    "Server",
    "ServerUnavailableError",
    "Shared",
    "fresh_database",
    "give_back",
    "migrated_database",
    "private_server",
    "shared_server",
]
