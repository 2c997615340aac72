"""A pooler in transaction mode, small enough to read: each transaction of a client may use another server session.

A client authenticates through the pooler to a new server session; afterwards this session belongs to all clients. A
client gets a free session when it sends a message, and loses it at the end of the transaction. So nothing in a session
survives: prepared statements, settings, LISTEN. Like real poolers, it refuses settings at start.
"""

from __future__ import annotations

import asyncio
import random
import struct
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter

__all__ = ["Pooler"]

_SSL_REQUEST, _CANCEL_REQUEST = 80_877_103, 80_877_102
_KNOWN_SETTINGS = {"user", "database", "client_encoding", "application_name"}


class Upstream:
    """One session of the server, and the client that uses it now."""

    def __init__(self, reader: StreamReader, writer: StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.client: StreamWriter | None = None
        self.unanswered = 0
        self.key = b""


class Pooler:
    """Listens on its own port before the server of a storage URL."""

    def __init__(self, url: str) -> None:
        self._target = urlsplit(url)
        self._idle: list[Upstream] = []
        self._all: list[Upstream] = []
        self._free = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()
        self._random = random.Random(1)
        self._bound: dict[bytes, Upstream] = {}
        self.transactions = 0

    @property
    def url(self) -> str:
        """Return the storage URL through the pooler."""
        account = f"{self._target.username}:{self._target.password}"
        port = self._server.sockets[0].getsockname()[1]
        return self._target._replace(netloc=f"{account}@127.0.0.1:{port}").geturl()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for upstream in self._all:
            upstream.writer.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            key = await self._welcome(reader, writer)
            if key is not None:
                await self._relay(reader, writer, key)
        except (OSError, EOFError):
            return
        finally:
            writer.close()
            self._tasks.discard(task)

    async def _welcome(self, reader: StreamReader, writer: StreamWriter) -> bytes | None:
        """Pass the handshake through to a new session; return None if the client began none."""
        while True:
            (length,) = struct.unpack("!i", await reader.readexactly(4))
            body = await reader.readexactly(length - 4)
            (code,) = struct.unpack("!i", body[:4])
            if code == _SSL_REQUEST:
                writer.write(b"N")
            elif code == _CANCEL_REQUEST:
                await self._cancel(body[4:])
                return None
            else:
                break
        names = set(body[4:].rstrip(b"\0").split(b"\0")[::2])
        if refused := sorted(name.decode() for name in names if name.decode() not in _KNOWN_SETTINGS):
            text = f"SFATAL\0VFATAL\0C08P01\0Munsupported startup parameter: {refused[0]}\0\0".encode()
            writer.write(b"E" + struct.pack("!i", len(text) + 4) + text)
            return None
        upstream = Upstream(*await asyncio.open_connection(self._target.hostname, self._target.port))
        upstream.writer.write(struct.pack("!i", length) + body)
        self._all.append(upstream)
        asking = asyncio.create_task(_forward_handshake(reader, upstream.writer))
        try:
            while True:
                kind, message = await _message(upstream.reader)
                if kind == b"K":
                    upstream.key = message[5:]
                writer.write(message)
                if kind == b"Z":
                    break
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
        listening = asyncio.create_task(self._listen(upstream))
        self._tasks.add(listening)
        await self._release(upstream)
        return upstream.key

    async def _relay(self, reader: StreamReader, writer: StreamWriter, key: bytes) -> None:
        """Relay a client's messages, each transaction to any free session."""
        upstream: Upstream | None = None
        while True:
            kind, message = await _message(reader)
            if kind == b"X":
                return
            if upstream is None or upstream.client is not writer:
                upstream = await self._bind(writer)
                self._bound[key] = upstream
            upstream.unanswered += kind in b"QS"
            upstream.writer.write(message)

    async def _bind(self, client: StreamWriter) -> Upstream:
        async with self._free:
            await self._free.wait_for(lambda: self._idle)
            upstream = self._idle.pop(self._random.randrange(len(self._idle)))
        upstream.client = client
        self.transactions += 1
        return upstream

    async def _release(self, upstream: Upstream) -> None:
        upstream.client = None
        async with self._free:
            self._idle.append(upstream)
            self._free.notify()

    async def _listen(self, upstream: Upstream) -> None:
        try:
            while True:
                kind, message = await _message(upstream.reader)
                if kind == b"Z":
                    upstream.unanswered -= 1
                client, over = upstream.client, message == b"Z\0\0\0\5I" and upstream.unanswered == 0
                if over:
                    await self._release(upstream)
                if client is not None:
                    client.write(message)
        except (OSError, EOFError):
            return

    async def _cancel(self, key: bytes) -> None:
        upstream = self._bound.get(key)
        if upstream is not None:
            _, writer = await asyncio.open_connection(self._target.hostname, self._target.port)
            writer.write(struct.pack("!ii", 16, _CANCEL_REQUEST) + upstream.key)
            writer.close()


async def _message(reader: StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readexactly(5)
    (length,) = struct.unpack("!i", head[1:])
    return head[:1], head + await reader.readexactly(length - 4)


async def _forward_handshake(reader: StreamReader, server: StreamWriter) -> None:
    while True:
        _, message = await _message(reader)
        server.write(message)
