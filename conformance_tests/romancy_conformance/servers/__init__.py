"""Real database servers for tests and benchmarks: private, durable, started on first use, removed with the process.

    from romancy_conformance.servers import Kind, fresh_database, private_server

    url = fresh_database(Kind.POSTGRES)      # an empty database on the server that this run shares ("postgres" will do)

    server = private_server(Kind.MYSQL)      # one of your own, to kill and freeze
    server.start()
    url = server.fresh_database()
    server.kill(); server.start(); server.freeze(); server.thaw()
    server.close()

`python -m romancy_conformance.servers up` starts all three and prints their URLs until Ctrl-C. Other processes use them
if these lines are exported. In pytest, `-p romancy_conformance.servers.plugin` provides the fixtures.

`ROMANCY_TEST_BACKENDS=pgbouncer` runs the suites on PostgreSQL behind a PgBouncer (`pgbouncer.py`),
`ROMANCY_TEST_BACKENDS=citus` on a schema of Citus for each test (`tenants.py`). `web_proxies.py` has nginx, HAProxy and
Caddy before an HTTP server.

The environment may name a server (ROMANCY_TEST_POSTGRES_URL, …MYSQL_URL, …MARIADB_URL). Otherwise this package uses a
program found on the machine, or unpacks one from Debian packages into a cache; ROMANCY_TEST_POSTGRES_SUITE=sid selects
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
