"""Two nodes of PostgreSQL under Patroni, with etcd and haproxy, from Debian's packages: what people run for fail-over.

Patroni keeps one of the nodes the primary and makes the other one its synchronous standby. It holds the lock of the
primary in etcd, and promotes the standby when the lock has run out. haproxy asks Patroni which node is the primary.
"""

from __future__ import annotations

import json
import secrets
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any, Final

from .access import access_to
from .account import hand_over, spawn
from .debian import unpack
from .kinds import Kind, ServerUnavailableError
from .processes import clear_folder, kill_all
from .programs import find_program
from .run import current_run
from .server import MAX_CONNECTIONS, USER, free_port

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from .access import Access

__all__ = ["Node", "PatroniCluster"]

_LOCK_SECONDS: Final = 6
"""How long the lock of a primary lasts that renews it no more. In production it is 30 s."""
_DEADLINE: Final = 90.0
_POLL: Final = 0.05


class _Programs:
    """Where the packages are unpacked. `ServerUnavailableError` if they cannot be had."""

    def __init__(self) -> None:
        self.postgres = find_program(Kind.POSTGRES).folder
        patroni = unpack("patroni", None)
        modules = f"PYTHONPATH={patroni / 'usr/lib/python3/dist-packages'}"
        python, program = patroni / "usr/bin/python3", patroni / "usr/bin/patroni"
        self.patroni: list[str | Path] = ["/usr/bin/env", modules, python, program]
        self.etcd = unpack("etcd-server", None) / "usr/bin/etcd"
        self.haproxy = unpack("haproxy", None) / "usr/sbin/haproxy"


class Node:
    """A machine: Patroni and the PostgreSQL that it has started, in one folder."""

    def __init__(self, folder: Path, number: int, password: str) -> None:
        self.name = f"node{number}"
        self.folder = folder / self.name
        self.folder.mkdir()
        self.port, self.asked_at = free_port(), free_port()
        self.access: Access = access_to(Kind.POSTGRES, user=USER, password=password, host="127.0.0.1", port=self.port)

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def answers(self, question: str) -> bool:
        """Whether Patroni says yes, as to `primary` or `synchronous`."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.asked_at}/{question}", method="OPTIONS")
        try:
            with urllib.request.urlopen(request, timeout=2) as answer:  # noqa: S310 - a fixed scheme
                return bool(answer.status == 200)
        except (OSError, urllib.error.HTTPError):
            return False

    def kill(self) -> None:
        """SIGKILL Patroni and PostgreSQL, as a power cut does."""
        kill_all(self.folder)


class PatroniCluster:
    """The nodes and what finds the primary among them. `ServerUnavailableError` if the packages cannot be had."""

    def __init__(self) -> None:
        self._programs = _Programs()
        self.folder = current_run().own_folder("patroni")
        self._processes: list[subprocess.Popen[bytes]] = []
        self._password = secrets.token_hex(12)
        self._etcd_port, self._haproxy_port = free_port(), free_port()
        self.nodes = [Node(self.folder, number, self._password) for number in (1, 2)]

    def start(self) -> None:
        """Start everything, and return when there is a primary with a synchronous standby behind haproxy."""
        for node in self.nodes:
            (node.folder / "patroni.json").write_text(json.dumps(self._settings(node)), encoding="utf-8")
        (self.folder / "haproxy.cfg").write_text("\n".join(self._routes()), encoding="utf-8")
        hand_over(self.folder)
        self._start_etcd()
        for node in self.nodes:
            self.start_node(node)
        self.until_synchronous()
        haproxy: list[str | Path] = [self._programs.haproxy, "-db", "-f", self.folder / "haproxy.cfg"]
        self._spawn(haproxy, self.folder, self.folder / "haproxy.log")

    def start_node(self, node: Node) -> None:
        """Start the node. If it was the primary, Patroni makes it follow the present one."""
        self._spawn([*self._programs.patroni, node.folder / "patroni.json"], node.folder, node.log)

    def until_synchronous(self) -> None:
        """Wait until one node is the primary, and the other one its synchronous standby."""
        self._until(lambda: all(any(one.answers(what) for one in self.nodes) for what in ("primary", "synchronous")))

    def until_primary(self, node: Node) -> None:
        """Wait until this node is the primary."""
        self._until(lambda: node.answers("primary"))

    @property
    def primary(self) -> Node:
        """The present primary."""
        return next(node for node in self.nodes if node.answers("primary"))

    def other(self, node: Node) -> Node:
        """The other node."""
        return next(one for one in self.nodes if one is not node)

    def url(self, database: str, *, haproxy: bool) -> str:
        """The URL of a database: through haproxy, or with both nodes as hosts."""
        ports = [self._haproxy_port] if haproxy else [node.port for node in self.nodes]
        hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
        return f"postgresql://{USER}:{self._password}@{hosts}/{database}"

    def close(self) -> None:
        """Kill everything and delete the folder."""
        clear_folder(self.folder)
        for process in self._processes:
            process.wait()

    def _start_etcd(self) -> None:
        client, peer = f"http://127.0.0.1:{self._etcd_port}", f"http://127.0.0.1:{free_port()}"
        options: dict[str, str | Path] = {
            "name": "one",
            "data-dir": self.folder / "etcd",
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": f"one={peer}",
        }
        command: list[str | Path] = [self._programs.etcd]
        command += (part for name, value in options.items() for part in (f"--{name}", value))
        self._spawn(command, self.folder, self.folder / "etcd.log")

    def _spawn(self, command: Sequence[str | Path], folder: Path, log: Path) -> None:
        with log.open("ab") as output:
            self._processes.append(spawn(command, folder, output=output))

    def _settings(self, node: Node) -> dict[str, Any]:
        account = {"username": USER, "password": self._password}
        everywhere = {
            "ttl": _LOCK_SECONDS,
            "loop_wait": 1,
            "retry_timeout": 2,
            "synchronous_mode": True,
            "postgresql": {"use_pg_rewind": True},
        }
        return {
            "scope": "romancy",
            "name": node.name,
            "restapi": {"listen": f"127.0.0.1:{node.asked_at}", "connect_address": f"127.0.0.1:{node.asked_at}"},
            "etcd3": {"host": f"127.0.0.1:{self._etcd_port}"},
            "bootstrap": {"dcs": everywhere, "initdb": [{"encoding": "UTF8"}, {"locale": "C"}, "data-checksums"]},
            "postgresql": {
                "listen": f"127.0.0.1:{node.port}",
                "connect_address": f"127.0.0.1:{node.port}",
                "data_dir": str(node.folder / "data"),
                "bin_dir": str(self._programs.postgres),
                "pgpass": str(node.folder / "pgpass"),
                "authentication": {"superuser": account, "replication": account, "rewind": account},
                "pg_hba": [
                    "local all all trust",
                    "host all all 127.0.0.1/32 md5",
                    "host replication all 127.0.0.1/32 md5",
                ],
                "parameters": {
                    "unix_socket_directories": str(node.folder),
                    "max_connections": MAX_CONNECTIONS,
                    "log_connections": "on",
                    "log_line_prefix": "%n ",
                },
            },
        }

    def _routes(self) -> list[str]:
        return [
            "defaults",
            "  mode tcp",
            "  timeout connect 2s",
            "  timeout client 1h",
            "  timeout server 1h",
            "  timeout check 1s",
            "listen primary",
            f"  bind 127.0.0.1:{self._haproxy_port}",
            "  option httpchk OPTIONS /primary",
            "  http-check expect status 200",
            "  default-server inter 300ms fall 2 rise 1 on-marked-down shutdown-sessions",
            *(f"  server {node.name} 127.0.0.1:{node.port} check port {node.asked_at}" for node in self.nodes),
            "",
        ]

    def _until(self, reached: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _DEADLINE
        while not reached():
            if time.monotonic() > deadline:
                said = "\n".join(line for node in self.nodes for line in _last_words(node.log))
                raise ServerUnavailableError(f"Patroni has not got there in {_DEADLINE:.0f} s:\n{said}")
            time.sleep(_POLL)


def _last_words(log: Path) -> list[str]:
    return log.read_text(encoding="utf-8", errors="replace").splitlines()[-10:] if log.exists() else []
