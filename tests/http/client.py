"""A client that calls an ASGI application in this process, and what it got."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from starlette.types import ASGIApp, Message

__all__ = ["Answer", "Client"]

LOCAL = ("127.0.0.1", 50_000)


@dataclass
class Answer:
    """What the application sent."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class Client:
    """Asks one application."""

    def __init__(self, app: ASGIApp, *, peer: tuple[str, int] | None = LOCAL) -> None:
        self.app = app
        self.peer = peer
        self.host = b"localhost:8000"

    async def post(self, target: str, body: bytes | Iterable[bytes] = b"", /, **headers: str) -> Answer:
        return await self.ask("POST", target, body, _named(headers))

    async def get(self, target: str, /, **headers: str) -> Answer:
        return await self.ask("GET", target, b"", _named(headers))

    async def ask(
        self,
        method: str,
        target: str,
        body: bytes | Iterable[bytes],
        headers: Iterable[tuple[bytes, bytes]],
        *,
        left: asyncio.Event | None = None,
        answer: Answer | None = None,
    ) -> Answer:
        """Send a request in these pieces. The client leaves when `left` is set, or with its answer."""
        path, _, query = target.partition("?")
        scope = {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1",
            "method": method, "scheme": "http", "path": path, "raw_path": path.encode(), "root_path": "",
            "query_string": query.encode(), "headers": [(b"host", self.host), *headers],
            "client": self.peer, "server": ("127.0.0.1", 8000),
        }  # fmt: skip
        chunks = iter([body] if isinstance(body, bytes) else body)
        got, gone = answer or Answer(), left or asyncio.Event()
        ended = False

        async def receive() -> Message:
            nonlocal ended
            if not ended:
                chunk = next(chunks, None)
                ended = chunk is None
                return {"type": "http.request", "body": chunk or b"", "more_body": not ended}
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                got.status = message["status"]
                got.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            else:
                got.body += message.get("body", b"")

        await self.app(scope, receive, send)
        return got


def _named(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
