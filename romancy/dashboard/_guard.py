"""Checks every request and adds headers to every answer: hosts, origins, forms, security headers.

A page of another site must neither read the dashboard (DNS rebinding), nor act through an admitted visitor's browser
(CSRF), nor show it in a frame. Pages load scripts and styles only from the dashboard's files, so that content that gets
past the escaping cannot run.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

from romancy.dashboard._refused import RefusedError, bad_request, forbidden
from romancy.web.answer_headers import INERT
from romancy.web.loopback import host_of, is_loopback, is_of_another_page, only_host

if TYPE_CHECKING:
    from starlette.requests import Request

__all__ = ["COOKIE", "HEADERS", "Form", "check_host", "check_origin", "csrf_of", "read_form"]

HEADERS: Final = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    **INERT,
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",  # without a referrer at all, browsers hide the origin of forms too
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-store",
}
"""Headers of every answer; an answer that sets one of them itself keeps it."""

COOKIE: Final = "romancy-dashboard"
_SECONDS: Final = 30.0
_CLOSE: Final = {"connection": "close"}
"""Closes the connection, so that the server does not wait for the rest of the form."""
_MOST_BYTES: Final = 1024 * 1024
_MOST_FIELDS: Final = 200
_TOKEN: Final = "csrf"  # noqa: S105 - the name of a field

Form = dict[str, list[str]]


def check_host(request: Request, hosts: frozenset[str] | None) -> None:
    """Refuse a Host that is not loopback or among `hosts`. None: any one that is well-formed."""
    given = only_host(request.headers.getlist("host"))
    if given is None:
        raise bad_request("A request names one host.")
    host = host_of(f"//{given}")
    if hosts is not None and not is_loopback(host) and host not in hosts:
        raise forbidden("This dashboard does not answer under this name; asgi(…, hosts=[…]) allows others.")


def check_origin(request: Request) -> None:
    """Refuse a request that another site's page has made. Browsers send the origin of a form."""
    site = request.headers.get("sec-fetch-site", "same-origin")
    known = "origin" in request.headers and site == "same-origin"
    if not known or is_of_another_page(request.headers["host"], request.headers.items()):
        raise forbidden("This form was not sent by a page of this dashboard.")


def csrf_of(request: Request) -> tuple[str, str | None]:
    """The token that forms have to send back, and the cookie to set for it if the browser has none."""
    cookie = request.cookies.get(COOKIE, "")
    new = None if len(cookie) >= 32 else secrets.token_urlsafe(32)  # noqa: PLR2004 - a cookie of ours is longer
    return _form_token(new or cookie), new


async def read_form(request: Request, seconds: float = _SECONDS) -> Form:
    """The fields of a form that this dashboard has made for this browser. It has to be complete within some seconds."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        raise RefusedError(415, "Send a form.", _CLOSE)
    form = _fields(await _body(request, seconds))
    expected = _form_token(request.cookies.get(COOKIE, ""))
    given = form.pop(_TOKEN, [])
    if len(given) != 1 or COOKIE not in request.cookies or not _same(given[0], expected):
        raise forbidden("This form is not of this browser, or too old: open its page again.")
    return form


async def _body(request: Request, seconds: float) -> bytes:
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                body += chunk
                if len(body) > _MOST_BYTES:
                    raise RefusedError(413, f"A form may have {_MOST_BYTES} bytes.", _CLOSE)
    except TimeoutError:
        raise RefusedError(408, f"The form was not complete after {seconds:g} s.", _CLOSE) from None
    return bytes(body)


def _fields(body: bytes) -> Form:
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise bad_request("The form cannot be read.") from None
    form: Form = {}
    for name, value in pairs:
        form.setdefault(name, []).append(value)
    return form


def _form_token(cookie: str) -> str:
    return hmac.new(cookie.encode("utf-8", "surrogatepass"), b"romancy dashboard form", hashlib.sha256).hexdigest()


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode("utf-8", "surrogatepass"), other.encode())
