"""An HTTP receiver that tests tell how to behave: it answers, hangs, or breaks the connection."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Self

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Answer", "Receiver", "Request"]

_MOST = 16 * 1024 * 1024


@dataclass(frozen=True)
class Request:
    """One request that was read to its end."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        """The CloudEvent in it, whatever its mode."""
        if self.headers["content-type"].startswith("application/cloudevents+json"):
            return dict(json.loads(self.body))
        own = {name[3:]: value for name, value in self.headers.items() if name.startswith("ce-")}
        return {**own, "data": json.loads(self.body)}


@dataclass(frozen=True)
class Answer:
    """What to do with a request."""

    status: int | Literal["hang", "reset"] = 202
    headers: dict[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""

    @property
    def accepts(self) -> bool:
        return self.status in range(200, 300)


class Receiver:
    """A server on a free port of this machine, which keeps what it received."""

    def __init__(self, answer: Callable[[Request], Answer] = lambda _: Answer()) -> None:
        self.answer = answer
        self.requests: list[Request] = []
        self.accepted: list[Request] = []
        self._changed = asyncio.Condition()
        self.connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server

    @property
    def url(self) -> str:
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"http://{host}:{port}/events"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self.connections:
            task.cancel()
        await asyncio.gather(*self.connections, return_exceptions=True)

    async def until(self, holds: Callable[[], bool], within: float = 60.0) -> None:
        """Wait until this holds; it is looked at after each request."""
        async with asyncio.timeout(within), self._changed:
            await self._changed.wait_for(holds)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.connections.add(task)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                while await self._one(reader, writer):
                    pass
        finally:
            self.connections.discard(task)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        pairs = (line.partition(":") for line in head[1:] if line)
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        size = int(headers.get("content-length", "0"))
        assert size <= _MOST
        request = Request(head[0].split()[1], headers, await reader.readexactly(size))
        answer = self.answer(request)
        async with self._changed:
            self.requests.append(request)
            if answer.accepts:
                self.accepted.append(request)
            self._changed.notify_all()
        if answer.status == "hang":
            await reader.read()  # until the client gives up
            return False
        if answer.status == "reset":
            writer.transport.abort()
            return False
        lines = [f"HTTP/1.1 {answer.status} Status", f"Content-Length: {len(answer.body)}"]
        lines += [f"{name}: {value}" for name, value in answer.headers.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode() + answer.body)
        await writer.drain()
        return True
