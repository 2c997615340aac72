"""Decides who may send requests: the hook that all routes but liveness and webhooks call, and ready hooks."""

from __future__ import annotations

import hmac
import inspect
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from starlette.exceptions import HTTPException

from romancy.errors import UsageError
from romancy.http._given import check_texts, kind_of
from romancy.http._refusal import Refused, refusal_of_status
from romancy.web.loopback import stranger

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

__all__ = ["Auth", "admit", "anyone", "bearer", "check_hook", "local"]

Auth: TypeAlias = "Callable[[Request], Any]"
"""Gets the request before its body is read. It returns, or raises; it may be an `async def`."""

_SHORTEST: Final = 16
_ALONE: Final = {
    "peer": "to loopback addresses alone",
    "proxy": "to no proxy: it cannot know who asks",
    "host": "as localhost alone",
    "page": "to no web page of another origin",
}


async def admit(auth: Auth, request: Request) -> None:
    """Ask the hook. Raises Refused if it raises PermissionError or Starlette's HTTPException, or returns False."""
    try:
        answer = auth(request)
        if inspect.isawaitable(answer):
            answer = await answer
    except PermissionError as error:
        raise _unauthorized(str(error) or "not allowed") from None
    except HTTPException as error:
        refused = refusal_of_status(error.status_code)
        refused.headers = dict(error.headers or {})
        raise refused from None
    if answer is False:
        raise _unauthorized("not allowed")


def check_hook(auth: Any) -> None:
    """Raise UsageError for a value that is no hook. A class, or `bearer` itself, would take any request."""
    if not callable(auth) or isinstance(auth, type) or auth is bearer:
        given = "bearer without its tokens" if auth is bearer else kind_of(auth)
        raise UsageError(f"auth= takes a function of the request, not {given}; write auth=bearer(token), for example")


def _unauthorized(error: str) -> Refused:
    return Refused(HTTPStatus.UNAUTHORIZED, error, "Unauthorized", headers={"www-authenticate": "Bearer"})


def anyone(_request: Request) -> None:
    """Admit every request. For an app that a proxy in front of it protects."""


def bearer(*tokens: str) -> Auth:
    """A hook that requires `authorization: Bearer TOKEN` with one of these tokens. Give two while you rotate them."""
    check_texts(tokens, "bearer", "tokens")
    if not tokens or any(len(token) < _SHORTEST for token in tokens):
        raise UsageError(f"bearer() takes tokens of at least {_SHORTEST} characters; `openssl rand -hex 32` makes one")
    known = [token.encode() for token in tokens]

    def check(request: Request) -> None:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        token = given.strip().encode("latin-1", "replace")
        found = [hmac.compare_digest(each, token) for each in known]
        if scheme.lower() != "bearer" or not any(found):
            raise PermissionError("send the header authorization: Bearer TOKEN with a valid token")

    return check


def local(request: Request) -> None:
    """Admit only programs on this machine: peer and Host are loopback, no proxy and no web page of another origin asks.

    This is the hook of an app without `auth=`.
    """
    client = request.client
    found = stranger(None if client is None else client.host, request.headers.items())
    if found is not None:
        raise Refused(HTTPStatus.FORBIDDEN, f"without auth= this app answers {_ALONE[found]}", "Forbidden")
