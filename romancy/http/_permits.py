"""What an admitted visitor may do and see: each refusal is a 403 that names it.

A visitor without payloads gets none of those that the app's codecs open: no results, no reports, no headers, and no
search by what is in them. An app without codecs has none to hide.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Literal

from romancy.http._refusal import Refused
from romancy.web.visitor import UNNAMED

if TYPE_CHECKING:
    from starlette.requests import Request

    from romancy.app import Romancy
    from romancy.web.visitor import Action, Visitor

__all__ = [
    "check_choosing", "check_questions", "check_replies", "check_steps", "check_topic", "let_in", "name_of_visitor",
    "sees_payloads",
]  # fmt: skip

_KEY: Final = "romancy.http"
_OURS: Final = "romancy."
"""How the names of events begin by which the dashboard's own jobs go on."""
_OPENING: Final = ("where", "header", "results", "headers")
"""Parameters of lists that show payloads or search in them."""


def let_in(request: Request, visitor: Visitor, needs: Action | Literal["payloads"] | None, app: Romancy) -> None:
    """Keep who asks. Raises Refused unless the visitor may do, or see, what the route needs."""
    request.scope[_KEY] = visitor
    if needs == "payloads":
        _check_payloads(request, app, "results and reports")
    elif needs is not None and not visitor.may(needs):
        raise _forbidden(f"you may not {needs}: the auth= of this app does not allow you this action")


def check_topic(request: Request, name: str) -> None:
    """Raise Refused for an event of Romancy's own, unless the visitor may do everything."""
    if name.startswith(_OURS) and _visitor(request).actions is not True:
        raise _forbidden(f"only a visitor who may do everything sends events whose type begins with {_OURS}")


def sees_payloads(request: Request, app: Romancy) -> bool:
    """Whether the visitor may see what the app's codecs open."""
    return _visitor(request).payloads or not app.codecs.ids


def check_choosing(request: Request, app: Romancy) -> None:
    """Raise Refused if the parameters of a list show payloads, or search in them, and the visitor may not see them."""
    given = [name for name in _OPENING if name in request.query_params]
    if given:
        _check_payloads(request, app, " and ".join(given))


def check_replies(request: Request, app: Romancy) -> None:
    """Raise Refused if the visitor may not see what the app's codecs open, as replies are."""
    _check_payloads(request, app, "replies")


def check_steps(request: Request, app: Romancy) -> None:
    """Raise Refused if the visitor may not see what the app's codecs open, as the steps of a log are."""
    _check_payloads(request, app, "the steps of an instance")


def check_questions(request: Request, app: Romancy) -> None:
    """Raise Refused if the visitor may not see what the app's codecs open, as questions are."""
    _check_payloads(request, app, "questions")


def name_of_visitor(request: Request) -> str:
    """The name of whoever asks. Empty if `auth=` gives none."""
    name = _visitor(request).name
    return "" if name == UNNAMED else name


def _check_payloads(request: Request, app: Romancy, what: str) -> None:
    if not sees_payloads(request, app):
        raise _forbidden(f"you may not see payloads, and so not {what}")


def _visitor(request: Request) -> Visitor:
    visitor: Visitor = request.scope[_KEY]
    return visitor


def _forbidden(error: str) -> Refused:
    return Refused(HTTPStatus.FORBIDDEN, error, "Forbidden")
