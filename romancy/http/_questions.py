"""Questions for programs in other languages and for pages of yours: what workflows ask, and answers to it.

Whoever has a token can answer, so the list of tokens is for those who may answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from romancy.http._answers import answer
from romancy.http._asking import Asked
from romancy.http._bodies import data_of, reason_of
from romancy.http._permits import check_questions, name_of_visitor
from romancy.http._routes import ManagementRoute

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from starlette.requests import Request
    from starlette.responses import Response

    from romancy.app import Romancy
    from romancy.http._accepting import Accepting
    from romancy.http._bodies import Bodies
    from romancy.question import Question

__all__ = ["Inbox"]

_PAGE: Final = 50
_MOST: Final = 200


class Inbox:
    """The routes of questions."""

    def __init__(self, app: Romancy, accepting: Accepting, bodies: Bodies) -> None:
        self._app = app
        self._accepting = accepting
        self._bodies = bodies

    def routes(self) -> list[ManagementRoute]:
        """The routes."""
        return [
            ManagementRoute("POST", "/questions/{token}/answer", self.answer, "answer"),
            ManagementRoute("POST", "/questions/{token}/refuse", self.refuse, "answer"),
            ManagementRoute("GET", "/questions", self.list, "answer"),
        ]

    async def list(self, request: Request) -> Response:
        """`GET /questions?to=&workflow_name=&instance_id=&limit=&page=`."""
        check_questions(request, self._app)
        asked = Asked(request, ("to", "workflow_name", "instance_id", "limit", "page"))
        found = await self._accepting.in_time(
            self._app.questions(
                to=asked.text("to"),
                workflow_name=asked.text("workflow_name"),
                instance_id=asked.text("instance_id"),
                cursor=asked.text("page"),
                limit=asked.number("limit", _PAGE, _MOST),
            )
        )
        return answer({"questions": [_shown(one) for one in found.questions], "next_page": found.next_cursor})

    async def answer(self, request: Request) -> Response:
        """`POST /questions/{token}/answer?by=`: the body is the answer."""
        by = _who(request)
        async with self._bodies.read(request) as body:
            data = msgspec.json.decode(data_of(request, body, "the answer"))
            return await self._done(self._app.answer(request.path_params["token"], data, by=by))

    async def refuse(self, request: Request) -> Response:
        """`POST /questions/{token}/refuse?by=`: the body is empty, or an object with a reason."""
        by = _who(request)
        async with self._bodies.read(request) as body:
            return await self._done(self._app.refuse(request.path_params["token"], reason_of(body), by=by))

    async def _done(self, call: Awaitable[None]) -> Response:
        await self._accepting.in_time(call)
        return answer({"status": "done"})


def _who(request: Request) -> str | None:
    """Who answers: the visitor, and `by=` only where nobody is known by name."""
    by = Asked(request, ("by",)).text("by")
    return name_of_visitor(request) or by


def _shown(found: Question) -> dict[str, Any]:
    return {name: getattr(found, name) for name in found.__struct_fields__}
