"""Decides who may look: the user's hook, this machine alone, or a token that opens a session."""

from __future__ import annotations

import hashlib
import inspect
import secrets
from dataclasses import replace
from hmac import compare_digest
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, cast

from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse

from romancy.dashboard._refused import InsteadError, RefusedError, forbidden
from romancy.errors import UsageError
from romancy.web.loopback import stranger
from romancy.web.visitor import Visitor

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

__all__ = ["Auth", "LastingToken", "OneTimeToken", "Visitor", "admitted", "anyone", "hook_of", "local"]

Auth: TypeAlias = "Callable[[Request], Any]"
"""Gets the request. It returns the visitor, as a name (for the audit log) or a `Visitor`, or nothing, or raises.

It may be `async`.
"""

_LASTS: Final = 12 * 3600
_CLOSED: Final = (
    "a dashboard shows every workflow and acts on it, so it is closed until you say who may look: write asgi(…, "
    "auth=admins), where admins(request) returns the name of the visitor or raises PermissionError. "
    'asgi(…, auth="local") admits every program on this machine, and with it everybody who reaches a proxy on this '
    "machine that adds no header"
)
_ENTER: Final = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Romancy</title>
<meta http-equiv="refresh" content="0;url=./"></head><body><p><a href="./">Open the dashboard</a></p></body></html>"""


async def admitted(auth: Auth, request: Request) -> Visitor:
    """Call the hook, and return the visitor. Raises RefusedError, or InsteadError with another answer."""
    try:
        answer = auth(request)
        if inspect.isawaitable(answer):
            answer = await answer
    except PermissionError as error:
        raise RefusedError(HTTPStatus.UNAUTHORIZED, str(error) or "You may not look at this.") from None
    except HTTPException as error:
        raise RefusedError(error.status_code, str(error.detail), error.headers) from None
    except UsageError as error:  # of `Visitor(…)`: who asks has done nothing wrong
        raise RuntimeError("auth= has made a mistake") from error
    if answer is False:
        raise RefusedError(HTTPStatus.UNAUTHORIZED, "You may not look at this.")
    somebody = request.client.host if request.client is not None else "somebody on this machine"
    if isinstance(answer, Visitor):
        return answer if answer.name else replace(answer, name=somebody)
    return Visitor(answer if isinstance(answer, str) and answer else somebody)


def hook_of(auth: Auth | Literal["local"] | None) -> Auth:
    """The hook that `auth=` gives or names. Raises UsageError without one, and for a value that is none."""
    given: Any = auth
    if given is None:
        raise UsageError(_CLOSED)
    if isinstance(given, str) and given == "local":
        return local
    if not callable(given) or isinstance(given, type):
        raise UsageError(
            f"auth= takes a function of the request, not {given!r:.60}; it raises PermissionError or returns who asks. "
            'auth="local" is for programs on this machine'
        )
    return cast("Auth", given)


def anyone(_request: Request) -> None:
    """Admit every request. For a dashboard that a proxy in front of it protects."""


def local(request: Request) -> None:
    """Admit only this machine: peer and Host are loopback, and no header says that a proxy passed the request on.

    This is `auth="local"`. The Host is checked to be loopback before any hook.
    """
    peer = None if request.client is None else request.client.host
    match stranger(peer, request.headers.items(), request.scope.get("http_version", "")):
        case "peer":
            raise forbidden('With auth="local" this dashboard answers to loopback addresses alone.')
        case "proxy":
            raise forbidden('With auth="local" this dashboard answers to no proxy: it cannot know who asks.')
        case "version":
            raise forbidden('With auth="local" this dashboard does not answer HTTP/1.0, which proxies speak.')
        case "host":
            raise forbidden('With auth="local" this dashboard answers under loopback names alone.')
        case _:
            """A page of another site may lead here. It can neither read the answer nor send a form."""


class OneTimeToken:
    """A token for one session of one browser. The hook of a dashboard that runs by itself."""

    def __init__(self) -> None:
        self.token: str | None = secrets.token_urlsafe(32)
        """None once it has been used."""
        self._session: str | None = None
        self._name = f"romancy-session-{secrets.token_hex(4)}"  # browsers share cookies between ports

    def __call__(self, request: Request) -> str:
        given = request.cookies.get(self._name, "")
        if self._session is not None and compare_digest(_digest(given), self._session):
            return "the holder of the token"
        offered = request.query_params.getlist("token")
        if request.method == "GET" and len(offered) == 1 and self._take(offered[0]):
            raise InsteadError(self._enter(request))
        if offered and self.token is None:
            raise RefusedError(
                HTTPStatus.UNAUTHORIZED,
                "This link has been used. Each start of `romancy ui` prints one for one browser.",
            )
        raise RefusedError(HTTPStatus.UNAUTHORIZED, "Open the link with the token that `romancy ui` has printed.")

    def _take(self, offered: str) -> bool:
        if self.token is None or not compare_digest(_digest(offered), _digest(self.token)):
            return False
        self.token = None
        return True

    def _enter(self, request: Request) -> HTMLResponse:
        """A page that loads the dashboard by itself. A redirect would not send the cookie if another site led here."""
        session = self._new_session()
        self._session = _digest(session)
        response = HTMLResponse(_ENTER)
        secure = request.url.scheme == "https"
        response.set_cookie(self._name, session, max_age=_LASTS, httponly=True, samesite="strict", secure=secure)
        return response

    def _new_session(self) -> str:
        return secrets.token_urlsafe(32)


class LastingToken(OneTimeToken):
    """A token that opens sessions for as long as a command runs. Processes that share the token share the sessions."""

    def __init__(self, token: str) -> None:
        super().__init__()
        self.token = token
        self._shared = _digest(f"session {token}")
        self._session = _digest(self._shared)
        self._name = f"romancy-session-{_digest(f'name {token}')[:8]}"

    def _take(self, offered: str) -> bool:
        return self.token is not None and compare_digest(_digest(offered), _digest(self.token))

    def _new_session(self) -> str:
        return self._shared


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
