"""A TCP proxy before a server that delays, cuts, holds or drops traffic, at the byte a test names.

It runs its own event loop in its own thread, so blocking and asynchronous tests can use it. It sees chunks as they
arrive, not frames; on the loopback interface, a small request arrives as one chunk.
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
import threading
from asyncio import StreamWriter
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from asyncio import StreamReader
    from collections.abc import AsyncGenerator, Callable

_CHUNK = 65_536
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_COMMIT = re.compile(
    rb"Q....COMMIT *;?\0"  # PostgreSQL: a simple query
    rb"|P....[^\0]*\0COMMIT *;?\0"  # PostgreSQL: a statement to prepare
    rb"|\0\x03COMMIT *;?",  # MySQL: COM_QUERY
    re.DOTALL | re.IGNORECASE,
)


class Direction(Enum):
    TO_SERVER = "to server"
    TO_CLIENT = "to client"


class Fault(Enum):
    """What happens to the chunk that matches a trigger, or to the answer that follows it."""

    CUT = "the chunk does not arrive and the connection is reset"
    HOLD = "the chunk waits until the trigger is released"
    LOSE = "the chunk does not arrive and the connection goes on"
    CUT_ANSWER = "the chunk arrives, the server answers, and the connection is reset before the client knows"
    HOLD_ANSWER = "the chunk arrives, the server answers, and the answer waits until the trigger is released"


def is_commit(direction: Direction, data: bytes) -> bool:
    """Whether the chunk contains a client's COMMIT, in the wire protocol of PostgreSQL or MySQL."""
    return direction is Direction.TO_SERVER and _COMMIT.search(data) is not None


class Trigger:
    """A fault that waits for its chunk, applies once, and then lets everything pass."""

    def __init__(self, proxy: Proxy, matches: Callable[[Direction, bytes], bool], fault: Fault) -> None:
        self.fault = fault
        self.released = asyncio.Event()
        self.struck = threading.Event()
        self._proxy = proxy
        self._matches = matches
        self._claimed = False

    def claims(self, direction: Direction, data: bytes) -> bool:
        if self._claimed or not self._matches(direction, data):
            return False
        self._claimed = True
        return True

    def wait(self, timeout: float = 60) -> None:
        """Block until it has applied; with HOLD_ANSWER and CUT_ANSWER the server has then done its work."""
        if not self.struck.wait(timeout):
            raise TimeoutError(f"within {timeout} s nothing passed for which to {self.fault.name}")

    def release(self) -> None:
        """Release what the fault holds."""
        self._proxy.do(self.released.set)


@dataclass(eq=False)
class _Link:
    """A client's connection, and the connection to the server that forwards it."""

    client: StreamWriter
    server: StreamWriter
    answered: Trigger | None = None
    """The trigger that applies to the next chunk from the server."""
    silent: bool = False
    """Whether data from both sides is dropped without closing the connections."""

    def reset(self) -> None:
        _reset(self.client)
        _reset(self.server)


class Proxy:
    """A listener on 127.0.0.1 that stands for the server at `host` and `port`.

    Its methods may be called from any thread and have taken effect when they return.
    """

    def __init__(self, host: str, port: int) -> None:
        self.delay = 0.0
        """Delay of every chunk in either direction, in seconds."""
        self.refuses = False
        """Whether new connections are reset at once."""
        self.refused = 0
        """The number of connections that were."""
        self.most = 0
        """The largest number of connections open at once."""
        self.port = 0
        self._target = (host, port)
        self._triggers: list[Trigger] = []
        self._to_lose = dict.fromkeys(Direction, 0)
        self._links: set[_Link] = set()
        self._cuts = 0
        """How often all connections were reset: one that was being opened meanwhile is reset too."""
        self._relays: set[asyncio.Task[None]] = set()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=asyncio.run, args=(self._serve(),), name="proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Reset every connection and stop listening."""
        if self._thread.is_alive():
            self.do(self._stop.set)
            self._thread.join()

    def url(self, url: str) -> str:
        """Return the URL of the same database through the proxy."""
        parts = urlsplit(url)
        account = parts.netloc.rpartition("@")[0]
        return parts._replace(netloc=f"{account}@127.0.0.1:{self.port}").geturl()

    def when(self, matches: Callable[[Direction, bytes], bool], fault: Fault) -> Trigger:
        """Apply `fault` to the first chunk that `matches(direction, data)`; the proxy's thread calls `matches`.

        Match PostgreSQL's prepared statements by a value they carry: their text passes only once.
        """
        trigger = Trigger(self, matches, fault)
        self.do(lambda: self._triggers.append(trigger))
        return trigger

    def on_commit(self, fault: Fault) -> Trigger:
        """Apply `fault` to the next COMMIT."""
        return self.when(is_commit, fault)

    def lose(self, direction: Direction, count: int) -> None:
        """Drop the next `count` bytes of that direction."""
        self.do(lambda: self._to_lose.update({direction: count}))

    def cut(self) -> None:
        """Reset every open connection."""
        self.do(self._reset_all)

    def black_hole(self) -> None:
        """Forward nothing and close nothing, as when a cable is pulled; data that comes meanwhile waits for `heal`."""
        self.do(self._open.clear)

    def heal(self) -> None:
        self.do(self._open.set)

    def fall_silent(self) -> None:
        """Drop all data of the open connections, as a firewall that forgot them does; new connections work."""
        self.do(self._silence_all)

    def do(self, action: Callable[[], object]) -> None:
        """Run `action` in the proxy's loop and wait for it."""

        async def run() -> None:
            action()

        asyncio.run_coroutine_threadsafe(run(), self._loop).result()

    def _reset_all(self) -> None:
        self._cuts += 1
        for link in self._links:
            link.reset()

    def _silence_all(self) -> None:
        for link in self._links:
            link.silent = True

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop, self._open = asyncio.Event(), asyncio.Event()
        self._open.set()
        listener = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = listener.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        listener.close()
        self._reset_all()
        for task in self._relays:
            task.cancel()
        await asyncio.gather(*self._relays, return_exceptions=True)

    def _accept(self, reader: StreamReader, writer: StreamWriter) -> None:
        task = self._loop.create_task(self._relay(reader, writer))
        self._relays.add(task)
        task.add_done_callback(self._relays.discard)

    async def _relay(self, from_client: StreamReader, to_client: StreamWriter) -> None:
        """Forward one client's connection to the server until either side ends it."""
        async with _closing(to_client):
            await self._open.wait()
            if self.refuses:
                self.refused += 1
                _reset(to_client)
                return
            cuts = self._cuts
            try:
                from_server, to_server = await asyncio.open_connection(*self._target)
            except OSError:
                _reset(to_client)
                return
            async with _closing(to_server):
                link = _Link(to_client, to_server)
                if self._cuts != cuts:
                    link.reset()
                    return
                self._links.add(link)
                self.most = max(self.most, len(self._links))
                pumps = [
                    asyncio.create_task(self._pump(link, Direction.TO_SERVER, from_client, to_server)),
                    asyncio.create_task(self._pump(link, Direction.TO_CLIENT, from_server, to_client)),
                ]
                try:
                    await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    self._links.discard(link)
                    for pump in pumps:
                        pump.cancel()
                    await asyncio.gather(*pumps, return_exceptions=True)

    async def _pump(self, link: _Link, direction: Direction, source: StreamReader, sink: StreamWriter) -> None:
        try:
            while data := await source.read(_CHUNK):
                if self.delay:
                    await asyncio.sleep(self.delay)
                await self._open.wait()
                if await self._may_pass(link, direction, data):
                    sink.write(self._what_is_left_of(data, direction))
                    await sink.drain()
        except OSError:  # one side has closed: the other side is closed too
            return

    async def _may_pass(self, link: _Link, direction: Direction, data: bytes) -> bool:
        if link.silent:
            return False
        if direction is Direction.TO_CLIENT and link.answered is not None:
            answered, link.answered = link.answered, None
            return await _strike(answered, link)
        trigger = next((trigger for trigger in self._triggers if trigger.claims(direction, data)), None)
        if trigger is None:
            return True
        if trigger.fault in {Fault.CUT_ANSWER, Fault.HOLD_ANSWER}:
            link.answered = trigger
            return True
        return await _strike(trigger, link)

    def _what_is_left_of(self, data: bytes, direction: Direction) -> bytes:
        lost = min(self._to_lose[direction], len(data))
        self._to_lose[direction] -= lost
        return data[lost:]


async def _strike(trigger: Trigger, link: _Link) -> bool:
    """Apply the trigger's fault; return True if the current chunk passes in the end."""
    match trigger.fault:
        case Fault.CUT | Fault.CUT_ANSWER:
            link.reset()
            trigger.struck.set()
            return False
        case Fault.LOSE:
            trigger.struck.set()
            return False
        case Fault.HOLD | Fault.HOLD_ANSWER:
            trigger.struck.set()
            await trigger.released.wait()
            return True


@asynccontextmanager
async def _closing(writer: StreamWriter) -> AsyncGenerator[None]:
    try:
        yield
    finally:
        writer.close()


def _reset(writer: StreamWriter) -> None:
    """Close with a TCP reset; data that was not sent yet is lost."""
    raw: socket.socket = writer.get_extra_info("socket")
    with suppress(OSError):  # closed already
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    writer.transport.abort()
