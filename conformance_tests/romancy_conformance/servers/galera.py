"""A Galera cluster: nodes of MariaDB that each take writes, and certify each other's transactions at their commit.

The nodes begin with copies of the same data. A node that was killed gets what it lacks from what the others remember,
so a state transfer is a handshake: none needs the tools that copy a whole database.
"""

from __future__ import annotations

import os
import re
import shutil
from typing import TYPE_CHECKING, Final

from .access import AccessError
from .account import hand_over
from .debian import unpack
from .kinds import Kind, ServerUnavailableError
from .mysql import MariaDBServer
from .programs import find_program
from .run import current_run
from .server import free_port, run_once

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from .programs import Program

__all__ = ["GaleraCluster", "GaleraNode"]

_NODES: Final = 3
_JOINS: Final = 3
_LIBRARY: Final = "usr/lib/galera/libgalera_smm.so"
_METHOD: Final = "remembered"
_TRANSFER: Final = """#!/bin/sh
# The two sides of a state transfer of transactions that the donor remembers: it tells the position, by a file.
while [ $# -gt 0 ]; do
  case "$1" in
    --role) role=$2; shift ;;
    --address) address=${2%%/*}; shift ;;
    --gtid) gtid=$2; shift ;;
    --bypass) bypass=1 ;;
  esac
  shift
done
told="$(dirname "$0")/$(echo "$address" | tr -c '0-9\n' _)"
if [ "$role" = joiner ]; then
  rm -f "$told"
  echo "ready $address/remembered"
  tries=0
  until [ -s "$told" ]; do
    tries=$((tries + 1)); [ $tries -gt 600 ] && exit 110
    sleep 0.1
  done
  cat "$told"
else
  [ -n "$bypass" ] || exit 22
  echo continue
  echo "$gtid" > "$told.new" && mv "$told.new" "$told"
  echo "done $gtid"
fi
"""
_READY: Final = "select variable_value from information_schema.global_status where variable_name = 'wsrep_ready'"
_POSITION: Final = re.compile(r"Recovered position:\s*([0-9a-f-]+:\d+)")


class GaleraNode(MariaDBServer):
    """One node. `start` joins it to those that run; the first one of all is started with `begin_cluster`."""

    def __init__(self, program: Program, folder: Path, library: Path) -> None:
        super().__init__(program, folder)
        self._library = library
        self.group_port, self._state_port, self._transfer_port = free_port(), free_port(), free_port()
        self._nodes: Sequence[GaleraNode] = ()
        self._alone = False

    def join(self, nodes: Sequence[GaleraNode]) -> None:
        """Make it a node of the cluster of these."""
        self._nodes = nodes

    def begin_cluster(self) -> None:
        """Start it as the first node of its cluster."""
        self._alone = True
        try:
            self.start()
        finally:
            self._alone = False

    def copy_to(self, other: GaleraNode) -> None:
        """Give a node that was never started the data of this one, which is stopped."""
        shutil.rmtree(other.data)
        shutil.copytree(self.data, other.data)
        other._password = self._password
        hand_over(other.folder)

    def command(self) -> Sequence[str | Path]:
        here = f"127.0.0.1:{self.group_port}"
        provider = f"gmcast.listen_addr=tcp://{here};ist.recv_addr=127.0.0.1:{self._state_port};gcache.size=128M"
        return [
            "/usr/bin/env",
            f"PATH={self.folder.parent}:{os.environ.get('PATH', os.defpath)}",
            *super().command(),
            *self._certification(),
            "--innodb-buffer-pool-size=128M",
            f"--wsrep-provider-options={provider}",
            "--wsrep-cluster-name=romancy",
            f"--wsrep-node-address={here}",
            f"--wsrep-sst-receive-address=127.0.0.1:{self._transfer_port}",
            "--wsrep-slave-threads=2",
            *(["--wsrep-new-cluster"] if self._alone else self._position()),
        ]

    def _certification(self) -> Sequence[str]:
        """The options without which it is a server like any other."""
        mode = ["--binlog-format=ROW", "--innodb-autoinc-lock-mode=2"]
        everyone = ",".join(f"127.0.0.1:{node.group_port}" for node in self._nodes)
        there = [f"--wsrep-cluster-address=gcomm://{everyone}", f"--wsrep-sst-method={_METHOD}"]
        return [*mode, "--wsrep-on=ON", f"--wsrep-provider={self._library}", *there]

    def _answers(self) -> bool:
        try:
            return super()._answers() and self.access.fetch(_READY) == "ON"
        except AccessError:
            return False

    def _position(self) -> Sequence[str]:
        """The last transaction of a node that was killed, which does not know it by itself."""
        state = self.data / "grastate.dat"
        if not state.exists() or "seqno:   -1" not in state.read_text(encoding="utf-8"):
            return []
        log = self.folder / "recovery"
        with log.open("wb") as output:
            options = ["--skip-networking", f"--socket={self.socket}", *self._certification(), "--wsrep-recover"]
            run_once([*self._program_on(self.data), *options], self.data, output=output)
        found = _POSITION.search(log.read_text(encoding="utf-8", errors="replace"))
        if found is None:
            raise ServerUnavailableError(f"{log} names no position")
        return [f"--wsrep-start-position={found[1]}"]


class GaleraCluster:
    """Three nodes. `ServerUnavailableError` if the packages cannot be had."""

    def __init__(self, nodes: int = _NODES) -> None:
        program, library = find_program(Kind.MARIADB), unpack("galera-4", None) / _LIBRARY
        self.folder = current_run().own_folder("galera")
        script = self.folder / f"wsrep_sst_{_METHOD}"
        script.write_text(_TRANSFER, encoding="utf-8")
        script.chmod(0o755)
        self.nodes = [GaleraNode(program, self.folder / f"node{number + 1}", library) for number in range(nodes)]
        for node in self.nodes:
            node.join(self.nodes)

    def start(self) -> None:
        """Start all nodes, and return when each is in the cluster."""
        first, *others = self.nodes
        first.begin_cluster()
        first.stop()
        for node in others:
            first.copy_to(node)
        first.begin_cluster()
        for node in others:
            self.bring_in(node)

    def bring_in(self, node: GaleraNode) -> None:
        """Start a node beside those that run. On a busy machine the others may lose it while it joins."""
        for left in reversed(range(_JOINS)):
            try:
                node.start()
                break
            except ServerUnavailableError:
                if not left:
                    raise

    def close(self) -> None:
        """Kill all nodes and delete their folders."""
        for node in self.nodes:
            node.close()
        shutil.rmtree(self.folder, ignore_errors=True)
