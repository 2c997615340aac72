"""Failures by their causes for scripts of operators: list them, and silence a group."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from romancy.http._answers import answer
from romancy.http._asking import Asked
from romancy.http._bodies import reason_of
from romancy.http._routes import ManagementRoute

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from starlette.requests import Request
    from starlette.responses import Response

    from romancy.app import Romancy
    from romancy.failure import FailureGroup
    from romancy.http._accepting import Accepting
    from romancy.http._bodies import Bodies

__all__ = ["Causes"]

_PAGE: Final = 50
_MOST: Final = 1_000


class Causes:
    """The routes of failures. The short texts of errors are stored in the clear, so whoever is let in may read them."""

    def __init__(self, app: Romancy, accepting: Accepting, bodies: Bodies) -> None:
        self._app = app
        self._accepting = accepting
        self._bodies = bodies

    def routes(self) -> list[ManagementRoute]:
        """The routes."""
        return [
            ManagementRoute("POST", "/failures/{group}/silence", self.silence, "failures"),
            ManagementRoute("POST", "/failures/{group}/unsilence", self.unsilence, "failures"),
            ManagementRoute("GET", "/failures", self.list),
        ]

    async def list(self, request: Request) -> Response:
        """`GET /failures?workflow_name=&silenced=&limit=`: what has failed, the group that was seen last first."""
        asked = Asked(request, ("workflow_name", "silenced", "limit"))
        found = await self._accepting.in_time(
            self._app.failures(
                asked.text("workflow_name"),
                silenced=asked.flag("silenced"),
                limit=asked.number("limit", _PAGE, _MOST),
            )
        )
        return answer(
            {"groups": [_shown(one) for one in found.groups], "looked_at": found.looked_at, "more": found.more}
        )

    async def silence(self, request: Request) -> Response:
        """`POST /failures/{group}/silence`: the body is empty, or an object with a reason."""
        Asked(request, ())
        async with self._bodies.read(request) as body:
            return await self._done(self._app.silence_failures(request.path_params["group"], reason_of(body)))

    async def unsilence(self, request: Request) -> Response:
        """`POST /failures/{group}/unsilence`: the body is empty."""
        Asked(request, ())
        async with self._bodies.read(request):
            return await self._done(self._app.unsilence_failures(request.path_params["group"]))

    async def _done(self, call: Awaitable[None]) -> Response:
        await self._accepting.in_time(call)
        return answer({"status": "done"})


def _shown(found: FailureGroup) -> dict[str, Any]:
    return {name: getattr(found, name) for name in found.__struct_fields__}
