"""A private Vitess: its gate, its tablets and its topology in one process (vtcombo), over one private MySQL.

The keyspace `whole` has one shard, as has every database that a client creates; `parted` has two. Whoever administers
connects to the socket of MySQL itself, where the database of a keyspace is `vt_<keyspace>_0`. The gate asks for no
password: vtcombo has no accounts.
"""

from __future__ import annotations

import json
import socket
import time
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from .access import Access, AccessError, MySQLAccess
from .account import spawn
from .engines import present_vitess
from .kinds import Kind, ServerUnavailableError
from .mysql import MySQLServer
from .server import USER, free_port

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from .programs import Program

__all__ = ["PARTED", "WHOLE", "VitessServer"]

WHOLE: Final = "whole"
PARTED: Final = "parted"
_SHARDS: Final = {WHOLE: ("0",), PARTED: ("-80", "80-")}
_CONNECTIONS: Final = 200
"""Of each pool of a tablet: as many as a test of many workers takes at once."""
_ACCOUNTS: Final = ("app", "appdebug", "allprivs", "dba", "filtered", "repl")
"""Those with which Vitess connects to MySQL."""
_DEADLINE: Final = 90.0
_BETWEEN_LOOKS: Final = 0.1


class VitessServer(MySQLServer):
    """MySQL, with a Vitess before it. Its port is that of the gate."""

    gate: subprocess.Popen[bytes] | None = None
    gate_options: Mapping[str, str] = MappingProxyType({})
    """Further options of the gate, or other values."""

    def __init__(self, program: Program, folder: Path) -> None:
        super().__init__(program, folder)
        self.port_below = free_port()

    @property
    def below(self) -> Access:
        """The MySQL below."""
        return MySQLAccess(Kind.MYSQL, USER, self._password, "127.0.0.1", self.port_below, "", str(self.socket))

    @property
    def gate_log(self) -> Path:
        return self.folder / "gate-log"

    def command(self) -> Sequence[str | Path]:
        """The command of MySQL."""
        given = f"--port={self.port}"
        return [f"--port={self.port_below}" if one == given else one for one in super().command()]

    def start(self) -> None:
        """Start MySQL and then the gate, unless they run."""
        running = self.is_running
        super().start()
        if running and self.gate is not None and self.gate.poll() is None:
            return
        self.start_gate()

    def start_gate(self) -> None:
        """Start the gate with its tablets, and return when it answers."""
        self._make_databases()
        with self.gate_log.open("ab") as log:
            self.gate = spawn(self._command(), self.data, output=log)
        deadline = time.monotonic() + _DEADLINE
        while self.gate.poll() is None and time.monotonic() < deadline:
            if self._gate_answers():
                return
            time.sleep(_BETWEEN_LOOKS)
        self.kill_gate()
        raise ServerUnavailableError(f"vtcombo does not answer:\n{self._words_of_gate()}")

    def kill_gate(self) -> None:
        """End the gate and the tablets as a crash would, and leave MySQL running."""
        if self.gate is not None:
            self.gate.kill()
            self.gate.wait()
            self.gate = None

    def kill_mysql(self) -> None:
        """End MySQL as a crash would, and leave the gate and the tablets running."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def start_mysql(self) -> None:
        """Start MySQL again below a gate that runs."""
        super().start()

    def kill(self) -> None:
        super().kill()
        self.kill_gate()

    def _answers(self) -> bool:
        """Ask MySQL itself."""
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(str(self.socket)) != 0:
                return False
        try:
            self._version = f"Vitess over {self.below.version()}"
        except AccessError:
            return False
        return True

    def _gate_answers(self) -> bool:
        gate = MySQLAccess(Kind.VITESS, USER, self._password, "127.0.0.1", self.port)
        try:
            for keyspace in _SHARDS:
                gate.fetch("SELECT 1", database=keyspace)
        except AccessError:
            return False
        return True

    def _make_databases(self) -> None:
        for keyspace, shards in _SHARDS.items():
            for shard in shards:
                self.below.fetch(f"CREATE DATABASE IF NOT EXISTS `vt_{keyspace}_{shard}`")

    def _keyspaces(self) -> list[dict[str, Any]]:
        """Those of this suite, and those that clients have created: the topology forgets them."""
        found = self.below.fetch(
            "SELECT group_concat(schema_name) FROM information_schema.schemata WHERE schema_name LIKE 'vt\\_%\\_0'"
        )
        known = {name: ("0",) for one in str(found).split(",") if (name := one[3:-2])} | _SHARDS
        return [{"name": name, "shards": [{"name": shard} for shard in shards]} for name, shards in known.items()]

    def _command(self) -> list[str | Path]:
        return [present_vitess(), *(f"--{name}={value}" for name, value in self._options().items())]

    def _options(self) -> dict[str, Any]:
        accounts = {f"db_{one}_{part}": said for one in _ACCOUNTS for part, said in self._account.items()}
        pools = ("queryserver-config-pool-size", "queryserver-config-transaction-cap")
        return {
            **accounts,
            **dict.fromkeys(pools, _CONNECTIONS),
            "port": free_port(),
            "grpc_port": free_port(),
            "bind-address": "127.0.0.1",
            "json_topo": json.dumps({"cells": ["test"], "keyspaces": self._keyspaces()}),
            "mycnf_server_id": 1,
            "mycnf_socket_file": self.socket,
            "db_socket": self.socket,
            "db_charset": "utf8mb4",
            "dbddl_plugin": "vttest",
            "foreign_key_mode": "disallow",
            "mysql_auth_server_impl": "none",
            "mysql_server_port": self.port,
            "mysql_server_bind_address": "127.0.0.1",
            "log_dir": self.folder,
            "tablet_refresh_interval": "10s",
            **self.gate_options,
        }

    @property
    def _account(self) -> dict[str, str]:
        return {"user": USER, "password": self._password}

    def _words_of_gate(self) -> str:
        return "\n".join(self.gate_log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:])
