"""Set-ups that are several servers, or an engine that was built: each is started for a measurement and ended after it.

They use the servers of the suite. Everything runs on this machine, so its processors and its disk are shared by all
nodes; on machines of their own these would have more of both, and a network between them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

from romancy_conformance.servers import Kind, private_server
from romancy_conformance.servers.account import hand_over, spawn
from romancy_conformance.servers.citus import CitusCluster
from romancy_conformance.servers.debian import unpack
from romancy_conformance.servers.galera import GaleraCluster
from romancy_conformance.servers.kinds import ServerUnavailableError
from romancy_conformance.servers.pgbouncer import PgBouncer
from romancy_conformance.servers.postgres import PostgresServer
from romancy_conformance.servers.server import free_port
from romancy_postgres._connection import PLANNING

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

__all__ = ["ENGINES", "Opened"]

Opened = Callable[[], AbstractContextManager[str]]
"""Yields the URL of an empty database."""
_DEADLINE: Final = 60.0
_FOLLOWS: Final = "select count(*) from pg_stat_replication where sync_state = 'sync'"


@contextmanager
def alone(kind: Kind) -> Generator[str]:
    """A server of its own: it begins as the others do."""
    with closing(private_server(kind)) as server:
        server.start()
        yield server.fresh_database()


@contextmanager
def with_standby() -> Generator[str]:
    """A primary of PostgreSQL whose commits wait until its standby has flushed them."""
    with closing(private_server(Kind.POSTGRES)) as primary, closing(private_server(Kind.POSTGRES)) as standby:
        assert isinstance(primary, PostgresServer)
        assert isinstance(standby, PostgresServer)
        primary.start()
        standby.follow(primary)
        standby.start()
        primary.access.fetch("alter system set synchronous_standby_names = 'standby'")
        primary.access.fetch("select pg_reload_conf()")
        deadline = time.monotonic() + _DEADLINE
        while not primary.access.fetch(_FOLLOWS):
            if time.monotonic() > deadline:
                raise ServerUnavailableError("the standby does not follow")
            time.sleep(0.05)
        yield primary.fresh_database()


@contextmanager
def behind_pooler() -> Generator[str]:
    """PostgreSQL behind PgBouncer in transaction mode, with the settings that the guide advises."""
    with closing(private_server(Kind.POSTGRES)) as server:
        server.start()
        with PgBouncer(server.access, for_sessions=PLANNING) as pooler:
            yield f"{pooler.url(server.fresh_database())}?pooler=transaction"


@contextmanager
def galera(nodes: int, *, spread: bool = False) -> Generator[str]:
    """A cluster whose first node gets all connections, or each node every third one, through haproxy."""
    with closing(GaleraCluster(nodes)) as cluster:
        cluster.start()
        url = cluster.nodes[0].fresh_database()
        if not spread:
            yield url
            return
        with balanced(cluster.folder, [node.port for node in cluster.nodes]) as port:
            yield url.replace(f":{cluster.nodes[0].port}/", f":{port}/")


@contextmanager
def balanced(folder: Path, ports: Sequence[int]) -> Generator[int]:
    """The port of a haproxy that gives each connection to another one of these."""
    port, settings = free_port(), folder / "haproxy.cfg"
    lines = ["defaults", "  mode tcp", *(f"  timeout {one} 1h" for one in ("client", "server")), "  timeout connect 2s"]
    nodes = (f"  server node{one} 127.0.0.1:{one}" for one in ports)
    listen = ["listen nodes", f"  bind 127.0.0.1:{port}", "  balance roundrobin", *nodes]
    settings.write_text("\n".join([*lines, *listen, ""]), encoding="utf-8")
    hand_over(folder)
    program = unpack("haproxy", None) / "usr/sbin/haproxy"
    with (folder / "haproxy.log").open("ab") as log:
        process = spawn([program, "-db", "-f", settings], folder, output=log)
    try:
        yield port
    finally:
        process.kill()
        process.wait()


@contextmanager
def citus() -> Generator[str]:
    """A schema on one of the two nodes behind a coordinator."""
    with closing(CitusCluster()) as cluster:
        cluster.start()
        yield cluster.url("bench")


ENGINES: Final[dict[str, tuple[str, Opened]]] = {
    "postgres": ("PostgreSQL", partial(alone, Kind.POSTGRES)),
    "standby": ("PostgreSQL with a synchronous standby", with_standby),
    "pgbouncer": ("PgBouncer, transaction mode", behind_pooler),
    "citus": ("Citus, a schema on one of two nodes", citus),
    "mariadb": ("MariaDB", partial(alone, Kind.MARIADB)),
    "galera-1": ("MariaDB Galera, one node", partial(galera, 1)),
    "galera-3": ("MariaDB Galera, three nodes, one written to", partial(galera, 3)),
    "galera-spread": ("MariaDB Galera, three nodes, each connection on another one", partial(galera, 3, spread=True)),
    "mysql": ("MySQL", partial(alone, Kind.MYSQL)),
    "vitess": ("Vitess, one shard", partial(alone, Kind.VITESS)),
    "tidb": ("TiDB, embedded store", partial(alone, Kind.TIDB)),
}
"""By name: what a table calls it, and how it is started."""
