"""A slow wire between a worker and its database: `python -m benchmarks.wire HOST PORT MILLISECONDS`.

It prints its port and ends with its input. Half of the time passes in each direction. It sleeps in `select`, which has
a resolution of microseconds. An asyncio loop has one of milliseconds, which is too coarse for half a millisecond.
"""

from __future__ import annotations

import heapq
import itertools
import select
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from benchmarks.process import TREE

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["slow_wire"]


@contextmanager
def slow_wire(url: str, milliseconds: float) -> Generator[str]:
    """Yield the URL of the same database behind a wire with this round trip."""
    parts = urlsplit(url)
    command = [sys.executable, "-m", "benchmarks.wire", str(parts.hostname), str(parts.port), str(milliseconds)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=TREE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        port = int(process.stdout.readline())
        try:
            yield url.replace(f"@{parts.hostname}:{parts.port}/", f"@127.0.0.1:{port}/")
        finally:
            process.stdin.close()


class Wire:
    """Passes on what arrives, later and in order."""

    def __init__(self, host: str, port: int, delay: float) -> None:
        self._address = (host, port)
        self._delay = delay
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._other: dict[socket.socket, socket.socket] = {}
        self._order = itertools.count()
        self._under_way: list[tuple[float, int, socket.socket, bytes]] = []

    @property
    def port(self) -> int:
        port: int = self._listening.getsockname()[1]
        return port

    def serve(self) -> None:
        """Pass on until the input ends."""
        while True:
            wait = max(0.0, self._under_way[0][0] - time.perf_counter()) if self._under_way else None
            ready, _, _ = select.select([sys.stdin, self._listening, *self._other], [], [], wait)
            self._deliver()
            if sys.stdin in ready:
                return
            for one in ready:
                if one is self._listening:
                    self._accept()
                elif one in self._other:
                    self._take(one)

    def _accept(self) -> None:
        client, _ = self._listening.accept()
        server = socket.create_connection(self._address)
        for one in (client, server):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._other |= {client: server, server: client}

    def _take(self, one: socket.socket) -> None:
        try:
            data = one.recv(1 << 16)
        except ConnectionError:
            data = b""
        due = time.perf_counter() + self._delay
        heapq.heappush(self._under_way, (due, next(self._order), self._other[one], data))
        if not data:
            del self._other[one]

    def _deliver(self) -> None:
        while self._under_way and self._under_way[0][0] <= time.perf_counter():
            _, _, to, data = heapq.heappop(self._under_way)
            try:
                if data:
                    to.sendall(data)
                else:
                    to.shutdown(socket.SHUT_WR)
            except OSError:
                self._other.pop(to, None)


if __name__ == "__main__":
    wire = Wire(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]) / 2000)
    print(wire.port, flush=True)
    wire.serve()
