"""PostgreSQL with Citus: a coordinator and two nodes that hold schemas, from a folder of the cache.

It is not in Debian's packages. `tools/engines/build_citus.sh` builds it there.
"""

from __future__ import annotations

import os
import re
import subprocess
from contextlib import closing
from typing import TYPE_CHECKING, Final

from .cache import cache_folder
from .kinds import Kind, ServerUnavailableError
from .postgres import PostgresServer
from .programs import Program
from .run import current_run
from .server import USER

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["CitusCluster", "CitusNode", "citus_program"]

_BUILT: Final = "engines/citus/pg/usr/lib/postgresql/*/bin/postgres"
_DATABASE: Final = "app"
_TRUST: Final = "local all all trust\nhost all all 127.0.0.1/32 trust\n"


def citus_program() -> Program:
    """The PostgreSQL that Citus was built for. `ServerUnavailableError` if nobody has built it."""
    server = next(iter(sorted(cache_folder().glob(_BUILT))), None)
    if server is None:
        raise ServerUnavailableError(
            f"no Citus in {cache_folder() / 'engines/citus'}: build it once with tools/engines/build_citus.sh, "
            "which takes four minutes of one core"
        )
    said = subprocess.run([server, "--version"], capture_output=True, text=True, check=True).stdout
    version = re.search(r"\d+\.\d+", said)
    return Program(Kind.POSTGRES, server, version[0] if version else "", "built with Citus")


class CitusNode(PostgresServer):
    """One of the servers. They trust each other, and everybody on this machine."""

    def command(self) -> Sequence[str | Path]:
        settings = {
            "shared_preload_libraries": "citus",
            "wal_level": "logical",
            "max_prepared_transactions": "1000",
            "citus.node_conninfo": "sslmode=disable",
            "citus.recover_2pc_interval": "1s",
        }
        return [*super().command(), *(part for name, value in settings.items() for part in ("-c", f"{name}={value}"))]

    def begin(self) -> None:
        """Start, with the database and the extension in it."""
        (self.data / "pg_hba.conf").write_text(_TRUST, encoding="utf-8")
        self.start()
        self.create_database(_DATABASE)
        self.run("create extension citus")

    def run(self, *statements: str) -> str:
        """Run statements in the database, and return what they answer."""
        program = self.program.folder / "psql"
        about = ["-h", "127.0.0.1", "-p", str(self.port), "-U", USER, "-d", _DATABASE]
        asked = [part for statement in statements for part in ("-c", statement)]
        try:
            return subprocess.run(
                [program, *about, "-qAt", "-v", "ON_ERROR_STOP=1", *asked],
                capture_output=True, text=True, check=True, env={**os.environ, "PGCONNECT_TIMEOUT": "10"},
            ).stdout  # fmt: skip
        except subprocess.CalledProcessError as error:
            raise ServerUnavailableError(f"a node of Citus refuses {statements[0]!r}: {error.stderr}") from None


class CitusCluster:
    """A coordinator, which holds no shards, and two nodes. Each new schema lies on one of them."""

    def __init__(self) -> None:
        program = citus_program()
        folder = current_run().folder
        self.coordinator, *self.nodes = [
            CitusNode(program, folder / f"citus-{os.getpid()}-{number}") for number in range(3)
        ]

    def start(self) -> None:
        """Start the servers and make them one cluster."""
        for node in (self.coordinator, *self.nodes):
            node.begin()
        self.limit_lock_waits("1s")
        self.coordinator.run(
            f"select citus_set_coordinator_host('127.0.0.1', {self.coordinator.port})",
            *(f"select citus_add_node('127.0.0.1', {node.port})" for node in self.nodes),
            f"alter database {_DATABASE} set citus.enable_schema_based_sharding = on",
        )

    def limit_lock_waits(self, limit: str) -> None:
        """Let the nodes wait so long for a locked row. 0: without a limit."""
        for node in self.nodes:
            node.run(f"alter system set lock_timeout = '{limit}'", "select pg_reload_conf()")

    def url(self, schema: str) -> str:
        """The URL of tables in a schema of their own, which lie together on one node."""
        return f"{self.coordinator.url(_DATABASE)}?schema={schema}"

    def holder(self, schema: str) -> CitusNode:
        """The node that holds the tables of this schema."""
        said = self.coordinator.run("select nodeport, table_name from citus_shards where citus_table_type = 'schema'")
        ports = {line.partition("|")[0] for line in said.splitlines() if f"|{schema}." in line}
        return next(node for node in self.nodes if {str(node.port)} == ports)

    def close(self) -> None:
        """Kill the servers and delete their folders."""
        for node in (self.coordinator, *self.nodes):
            with closing(node):
                pass
