"""Raw requests over one connection: those of a stranger who tries every way in, and those of the owner."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator, Mapping

__all__ = ["Answered", "Asked", "ask", "tries"]

_FORM: Final = {"content-type": "application/x-www-form-urlencoded"}
_SHOP: Final = "shop.example.com"


class Asked(NamedTuple):
    """A request, byte for byte."""

    method: str
    target: str
    version: str
    headers: Mapping[str, str]
    body: str = ""

    def raw(self) -> bytes:
        headers = dict(self.headers)
        if self.body:
            headers["content-length"] = str(len(self.body))
        lines = [f"{self.method} {self.target} HTTP/{self.version}", *(f"{k}: {v}" for k, v in headers.items())]
        return ("\r\n".join(lines) + "\r\n\r\n" + self.body).encode("latin-1")


class Answered(NamedTuple):
    """The answer, as far as it came before the connection was closed or one event of a stream was read."""

    status: int
    text: str

    @property
    def cookies(self) -> list[str]:
        return re.findall(r"(?im)^set-cookie: ([^;\r]+)", self.text)


def ask(connection: socket.socket, asked: Asked) -> Answered:
    """Send the request, and read until the answer ends. Status 0: the connection was closed without one."""
    with connection:
        received = b""
        try:
            connection.sendall(asked.raw())
            while not _is_complete(received):
                part = connection.recv(65536)
                if not part:
                    break
                received += part
        except ConnectionError:
            pass
    text = received.decode("utf-8", "replace")
    found = re.match(r"HTTP/1\.\d (\d{3})", text)
    return Answered(int(found[1]) if found else 0, text)


def _is_complete(received: bytes) -> bool:
    """Whether the answer, or the first event of a stream, has come. Others end with the connection."""
    head, end, body = received.partition(b"\r\n\r\n")
    if not end:
        return False
    lowered = head.lower()
    if b"text/event-stream" in lowered:
        return b"\n\n" in body
    if b"transfer-encoding: chunked" in lowered:
        return body.endswith(b"0\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", lowered)
    return length is not None and len(body) >= int(length[1])


def tries(prefix: str, kind: str, upstream: str) -> Iterator[Asked]:
    """The ways in that a stranger tries: each page with each Host, and each spelling of a request."""
    targets = _READS[kind]
    local = upstream
    for host in (_SHOP, local, "localhost", "127.0.0.1", "[::1]"):
        for target in targets:
            yield Asked("GET", prefix + target, "1.1", {"host": host, "connection": "close"})
        yield _acting(prefix, kind, host)
    target = prefix + targets[0]
    yield Asked("GET", target, "1.0", {})
    yield Asked("GET", target, "1.0", {"host": local})
    yield Asked("GET", f"http://localhost{target}", "1.1", {"host": _SHOP, "connection": "close"})
    yield Asked("GET", f"http://{local}{target}", "1.1", {"host": local, "connection": "close"})
    upgrade = {"connection": "upgrade", "upgrade": "websocket", "sec-websocket-version": "13"}
    yield Asked("GET", target, "1.1", {"host": local, **upgrade, "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ=="})
    for name in ("x-forwarded-for", "x-real-ip", "forwarded", "x-forwarded-host"):
        yield Asked("GET", target, "1.1", {"host": local, name: "127.0.0.1", "connection": "close"})
    same = {"origin": f"http://{local}", "sec-fetch-site": "same-origin", "connection": "close"}
    yield Asked("GET", target, "1.1", {"host": local, **same})


_READS: Final = {
    "dashboard": ("/instances", "/", "/instances/o-1", "/changes/instances", "/jobs", "/act/cancel/o-1"),
    "http": ("/instances", "/instances/o-1", "/count", "/instances/o-1/progress", "/openapi.json"),
}


def _acting(prefix: str, kind: str, host: str) -> Asked:
    headers = {"host": host, "connection": "close"}
    if kind == "http":
        return Asked("POST", f"{prefix}/cancel/o-1", "1.1", headers, '{"reason": "stolen"}')
    forged = {"origin": f"http://{host}", "sec-fetch-site": "same-origin", "cookie": f"romancy-dashboard={'x' * 43}"}
    return Asked("POST", f"{prefix}/act/cancel/o-1", "1.1", {**headers, **_FORM, **forged}, "csrf=0&reason=stolen")
