"""Ways to tell: a POST to a webhook, or a command that is run."""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
import sys
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import quote, urlsplit

import msgspec

from romancy._microseconds import moment_of
from romancy.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.alerting.records import Condition, Notice

__all__ = ["ByCommand", "ByWebhook", "Telling"]

_TIMEOUT: Final = 20.0
_MOST_SAID: Final = 300
_STATUSES: Final = {
    "stuck": "status=stuck",
    "failed": "status=failed",
    "open": "status=pending&status=running&status=waiting",
}


class Telling(Protocol):
    """A way to tell somebody. It raises an error if it cannot be known that they were told."""

    async def tell(self, notices: Sequence[Notice], /) -> None: ...


class ByWebhook:
    """Posts JSON: `text` for people, which the webhooks of chats show, and `alerts` for programs."""

    def __init__(self, url: str, link: str | None = None) -> None:
        """`link` is the address of the dashboard."""
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
            raise UsageError("a webhook has a URL that begins with http:// or https://")
        self._url = url
        self._link = link
        try:
            self._http: Any = importlib.import_module("httpx2")
        except ModuleNotFoundError:
            raise UsageError("a webhook needs the extra http: pip install 'romancy[http]'") from None

    async def tell(self, notices: Sequence[Notice], /) -> None:
        """Post them. Any answer but 2xx raises an error, which names the host alone: the path may be a secret."""
        body = {"text": "\n".join(said(each, self._link) for each in notices), "alerts": records(notices, self._link)}
        async with self._http.AsyncClient(timeout=_TIMEOUT, follow_redirects=False) as client:
            headers = {"content-type": "application/json"}
            try:
                response = await client.post(self._url, content=msgspec.json.encode(body), headers=headers)
            except self._http.TransportError as error:
                raise ConnectionError(f"{urlsplit(self._url).hostname}: {type(error).__name__}") from None
        if not response.is_success:
            raise ConnectionError(f"{urlsplit(self._url).hostname} answered {response.status_code}")


class ByCommand:
    """Runs a command once for some notices, which are JSON on its standard input. It has to end with 0."""

    def __init__(self, command: str, link: str | None = None) -> None:
        self._command = command
        self._link = link

    async def tell(self, notices: Sequence[Notice], /) -> None:
        beginning = asyncio.ensure_future(self._begin())
        try:
            process = await asyncio.shield(beginning)
            _, told = await process.communicate(msgspec.json.encode(records(notices, self._link)))
        except asyncio.CancelledError:
            await _end(await beginning)
            raise
        if process.returncode:
            raise OSError(f"the command ended with {process.returncode}: {told.decode(errors='replace')[-_MOST_SAID:]}")

    async def _begin(self) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_shell(
            self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )


async def _end(process: asyncio.subprocess.Process) -> None:
    """End the shell and what it has begun."""
    if process.returncode is not None:
        return
    if sys.platform == "win32":
        process.kill()
    else:
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


def said(notice: Notice, link: str | None) -> str:
    """The line of a notice."""
    where = address_of(notice.condition, link)
    over = "over: " if notice.state == "is over" else ""
    return f"Romancy: {over}{notice.condition.text}" + ("" if where is None else f" {where}")


def records(notices: Sequence[Notice], link: str | None) -> list[dict[str, Any]]:
    """The notices as plain JSON values."""
    return [
        {
            "key": each.condition.key,
            "state": each.state,
            "text": each.condition.text,
            "at": moment_of(each.at).isoformat(),
            "link": address_of(each.condition, link),
        }
        for each in notices
    ]


def address_of(condition: Condition, link: str | None) -> str | None:
    """The page of the dashboard that shows what it is about."""
    if link is None:
        return None
    kind, _, name = condition.about.partition(" ")
    base = link.rstrip("/")
    if kind not in _STATUSES:
        return f"{base}/"
    return f"{base}/instances?{_STATUSES[kind]}&workflow={quote(name, safe='')}"
