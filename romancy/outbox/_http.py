"""The sender for HTTP: one CloudEvent, one POST."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import time
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final, Literal, Self
from urllib.parse import quote, urlsplit

from romancy._headers import trace_of
from romancy.errors import UsageError
from romancy.outbox._failures import failure
from romancy.outbox._sender import Reject, Retry
from romancy.outbox._signing import Signer
from romancy.retry import seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import TracebackType

    from romancy.outbox._event import OutboxEvent
    from romancy.retry import Duration

__all__ = ["HttpSender", "retry_after"]

_DONE, _REFUSED = 2, 4
_TRANSIENT: Final = frozenset({408, 425, 429})
_MOST_READ: Final = 64 * 1024
_LONGEST_READ: Final = 1.0
_KEPT_CONNECTIONS: Final = 100
_PRINTABLE: Final = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')
_TEXT: Final = "application/json"


class HttpSender:
    """Sends each event as a CloudEvent, by a POST to `url`. Needs the extra `romancy[http]`.

    A 2xx answer means that the receiver has the event. 408, 425, 429, 5xx and 3xx, a broken connection and a time-out
    are tried again, not before the time in `Retry-After` (at most `longest_wait`). Other 4xx answers reject the event.
    An event with a `traceparent` among its headers has it as a header of the request too.
    """

    def __init__(
        self,
        url: str,
        *,
        mode: Literal["structured", "binary"] = "structured",
        headers: Mapping[str, str] | None = None,
        secret: str | Iterable[str] = (),
        longest_wait: Duration = 3600.0,
        client: Any = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`secret` signs the body by Standard Webhooks; give several while you change it.

        The body holds the whole event in the `structured` mode, and only its data in the `binary` one. `client` is an
        `httpx2.AsyncClient` of yours, which you close.
        """
        if urlsplit(url).scheme not in ("http", "https"):
            raise UsageError("HttpSender takes a URL that begins with http:// or https://")
        if mode not in ("structured", "binary"):
            raise UsageError(f"mode must be 'structured' or 'binary', not {mode!r}")
        self._url = url
        self._mode = mode
        self._headers = dict(headers or {})
        self._signer = Signer([secret] if isinstance(secret, str) else secret)
        self._longest_wait = seconds(longest_wait, "longest_wait")
        self._client = client
        self._owns = client is None
        self._users = 0
        """How many relays have entered it."""
        self._clock = clock
        self._http = _httpx2()

    async def __aenter__(self) -> Self:
        self._users += 1
        if self._client is None:
            limits = self._http.Limits(max_connections=None, max_keepalive_connections=_KEPT_CONNECTIONS)
            self._client = self._http.AsyncClient(timeout=None, limits=limits, follow_redirects=False)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._users -= 1
        client = self._client
        if self._owns and not self._users and client is not None:
            self._client = None
            await client.aclose()

    async def send(self, event: OutboxEvent, /) -> None:
        """As `Sender.send` promises."""
        if self._client is None:
            raise UsageError("an HttpSender is used inside `async with sender:`, which a relay does for you")
        body, headers = self._request(event)
        try:
            async with self._client.stream("POST", self._url, content=body, headers=headers) as response:
                status, told = response.status_code, response.headers.get("retry-after")
                await self._read_a_little(response)
        except (self._http.TransportError, self._http.DecodingError) as error:
            raise Retry(failure(error, self._url)) from error
        kind = status // 100
        if kind == _DONE:
            return
        if kind == _REFUSED and status not in _TRANSIENT:
            raise Reject(f"HTTP {status}")
        after = retry_after(told, self._clock())
        raise Retry(f"HTTP {status}", None if after is None else min(after, self._longest_wait))

    async def _read_a_little(self, response: Any) -> None:
        """Read a short answer to its end, so that its connection can be used again. Its status is the answer."""
        size = 0
        with contextlib.suppress(TimeoutError, self._http.TransportError, self._http.StreamError):
            async with asyncio.timeout(_LONGEST_READ):
                async for part in response.aiter_raw():
                    size += len(part)
                    if size > _MOST_READ:
                        return

    def _request(self, event: OutboxEvent) -> tuple[bytes, dict[str, str]]:
        if self._mode == "structured":
            body, headers = event.structured(), {"content-type": "application/cloudevents+json"}
        else:
            attributes = event.attributes()
            body, headers = event.json, {"content-type": attributes.pop("datacontenttype")}
            headers |= {f"ce-{name}": quote(value, safe=_PRINTABLE) for name, value in attributes.items()}
        signed = self._signer.headers(event.id, int(self._clock()), body) if self._signer else {}
        return body, trace_of(event.headers) | self._headers | headers | signed

    def __repr__(self) -> str:
        return f"HttpSender({urlsplit(self._url).hostname!r}, mode={self._mode!r})"


def retry_after(told: str | None, now: float) -> float | None:
    """The seconds that a `Retry-After` header asks for. None if there is none, or if it is malformed."""
    if told is None:
        return None
    told = told.strip()
    if told.isascii() and told.isdecimal():
        return float(told[:12])
    try:
        moment = parsedate_to_datetime(told)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, moment.timestamp() - now)


def _httpx2() -> Any:
    # Imported here because it belongs to an extra.
    try:
        return importlib.import_module("httpx2")
    except ImportError:
        raise UsageError("HttpSender needs httpx2: install romancy[http]") from None
