"""Decides who may send requests: the hook that all routes but liveness and webhooks call, and ready hooks."""

from __future__ import annotations

import hmac
import inspect
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, cast

from starlette.exceptions import HTTPException

from romancy.errors import UsageError
from romancy.http._given import check_texts, kind_of
from romancy.http._refusal import Refused, refusal_of_status
from romancy.web.loopback import stranger
from romancy.web.visitor import UNNAMED, Visitor

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

__all__ = ["Auth", "admit", "anyone", "bearer", "hook_of", "local"]

Auth: TypeAlias = "Callable[[Request], Any]"
"""Gets the request before its body is read. It returns anything, or a `Visitor`, or raises; it may be `async`."""

_SHORTEST: Final = 16
_ALONE: Final = {
    "peer": "to loopback addresses alone",
    "proxy": "to no proxy: it cannot know who asks",
    "version": "over HTTP/1.1 or newer: proxies speak HTTP/1.0",
    "host": "as localhost alone",
    "page": "to no web page of another origin",
}
_CLOSED: Final = (
    "an app over HTTP starts, cancels and shows workflows, so it is closed until you say who may send requests: write "
    "asgi(app, auth=bearer(token)), or auth= with a function of the request that raises PermissionError. "
    'asgi(app, auth="local") admits every program on this machine, and with it everybody who reaches a proxy on this '
    "machine that adds no header"
)
_SOMEBODY: Final = Visitor(UNNAMED)


async def admit(auth: Auth, request: Request) -> Visitor:
    """Ask the hook who this is. Raises Refused if it raises PermissionError or HTTPException, or returns False."""
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
    except UsageError as error:  # of `Visitor(…)`: who asks has done nothing wrong
        raise RuntimeError("auth= has made a mistake") from error
    if answer is False:
        raise _unauthorized("not allowed")
    return answer if isinstance(answer, Visitor) else _SOMEBODY


def hook_of(auth: Auth | Literal["local"] | None) -> Auth:
    """The hook that `auth=` gives or names. Raises UsageError without one, and for a value that is none.

    A class, or `bearer` itself, would take any request.
    """
    given: Any = auth
    if given is None:
        raise UsageError(_CLOSED)
    if isinstance(given, str) and given == "local":
        return local
    if not callable(given) or isinstance(given, type) or given is bearer:
        kind = "bearer without its tokens" if given is bearer else kind_of(given)
        raise UsageError(f"auth= takes a function of the request, not {kind}; write auth=bearer(token), for example")
    return cast("Auth", given)


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

    This is `auth="local"`. It trusts what a request shows: a proxy on this machine that adds no header is a program on
    this machine, and everybody who reaches it is admitted.
    """
    client = request.client
    peer = None if client is None else client.host
    found = stranger(peer, request.headers.items(), request.scope.get("http_version", ""))
    if found is not None:
        raise Refused(HTTPStatus.FORBIDDEN, f'with auth="local" this app answers {_ALONE[found]}', "Forbidden")
