"""A browser without a screen: it keeps cookies, follows no links by itself, and sends forms as browsers do."""

from __future__ import annotations

import re
from html import unescape
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlencode

from tests.http.client import Answer, Client

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["Browser"]

_CSRF: Final = re.compile(r'name="csrf" value="([0-9a-f]{64})"')


class Browser:
    """One browser that visits one application."""

    def __init__(self, app: ASGIApp, *, peer: tuple[str, int] | None = ("127.0.0.1", 50_000)) -> None:
        async def served(scope: Scope, receive: Receive, send: Send) -> None:
            await app({**scope, "path": unquote(scope["path"])}, receive, send)  # as servers do

        self.client = Client(served, peer=peer)
        self.cookies: dict[str, str] = {}

    async def get(self, target: str, /, **headers: str) -> Answer:
        return await self.ask("GET", target, b"", headers.items())

    async def post(self, target: str, fields: Mapping[str, str | list[str]], /, **headers: str) -> Answer:
        """Send fields to a target as a form of a page of the same origin."""
        given = {
            "content-type": "application/x-www-form-urlencoded",
            "origin": f"http://{self.client.host.decode()}",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        return await self.ask("POST", target, urlencode(fields, doseq=True).encode(), given.items())

    async def submit(self, page: str, fields: Mapping[str, str | list[str]], /, *, to: str | None = None) -> Answer:
        """Open a page with a form, and send its token with these fields."""
        return await self.post(to or page, {"csrf": await self.token(page), **fields})

    async def token(self, page: str) -> str:
        """The token in the forms of a page."""
        shown = await self.get(page)
        found = _CSRF.search(shown.body.decode())
        assert found is not None, shown.body.decode()
        return found[1]

    async def ask(self, method: str, target: str, body: bytes, headers: Iterable[tuple[str, str]]) -> Answer:
        named = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers]
        if self.cookies:
            named.append((b"cookie", "; ".join(f"{k}={v}" for k, v in self.cookies.items()).encode()))
        answer = await self.client.ask(method, target, body, named)
        cookie = answer.headers.get("set-cookie")
        if cookie is not None:
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value
        return answer

    @staticmethod
    def text(answer: Answer) -> str:
        """What a page says, without its tags."""
        body = re.sub(r"<(script|style|head)\b.*?</\1>", " ", answer.body.decode(), flags=re.DOTALL)
        return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body))).strip()
