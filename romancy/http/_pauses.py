"""Pauses by name for scripts of operators, of activities and of workflows, and workers that are asked to drain."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from romancy.errors import UsageError
from romancy.http._answers import answer
from romancy.http._asking import Asked
from romancy.http._bodies import reason_of
from romancy.http._refusal import Refused
from romancy.http._routes import ManagementRoute

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from starlette.requests import Request
    from starlette.responses import Response

    from romancy.app import Romancy
    from romancy.http._accepting import Accepting
    from romancy.http._bodies import Bodies

__all__ = ["Pauses"]


class Pauses:
    """The routes of pauses by name, and of workers."""

    def __init__(self, app: Romancy, accepting: Accepting, bodies: Bodies) -> None:
        self._app = app
        self._accepting = accepting
        self._bodies = bodies

    def routes(self) -> list[ManagementRoute]:
        """The routes."""
        return [
            ManagementRoute("GET", "/pauses", self.list),
            ManagementRoute("POST", "/activities/{name:path}/pause", self.pause_activity, "pause"),
            ManagementRoute("POST", "/activities/{name:path}/unpause", self.unpause_activity, "unpause"),
            ManagementRoute("POST", "/workflows/{name:path}/pause", self.pause_workflow, "pause"),
            ManagementRoute("POST", "/workflows/{name:path}/unpause", self.unpause_workflow, "unpause"),
            ManagementRoute("POST", "/workers/{name:path}/drain", self.drain, "workers"),
        ]

    async def list(self, request: Request) -> Response:
        """`GET /pauses`: the activities and the workflows that are paused by name, the first ones first."""
        Asked(request, ())
        activities = await self._accepting.in_time(self._app.paused_activities())
        workflows = await self._accepting.in_time(self._app.paused_workflows())
        return answer(
            {
                name: [{"name": one.name, "reason": one.reason, "since": one.since} for one in found]
                for name, found in (("activities", activities), ("workflows", workflows))
            }
        )

    async def pause_activity(self, request: Request) -> Response:
        """`POST /activities/{name}/pause`: the body is empty, or an object with a reason. 409 if it is paused."""
        Asked(request, ())
        name = request.path_params["name"]
        async with self._bodies.read(request) as body:
            return await self._done(request, self._app.pause_activity(name, reason=reason_of(body)))

    async def unpause_activity(self, request: Request) -> Response:
        """`POST /activities/{name}/unpause`, without a body. 409 if it is not paused."""
        Asked(request, ())
        async with self._bodies.read(request):
            return await self._done(request, self._app.unpause_activity(request.path_params["name"]))

    async def pause_workflow(self, request: Request) -> Response:
        """`POST /workflows/{name}/pause`: the body is empty, or an object with a reason. 409 if it is paused."""
        Asked(request, ())
        name = request.path_params["name"]
        async with self._bodies.read(request) as body:
            return await self._done(request, self._app.pause_workflow(name, reason=reason_of(body)))

    async def unpause_workflow(self, request: Request) -> Response:
        """`POST /workflows/{name}/unpause`, without a body. 409 if it is not paused."""
        Asked(request, ())
        async with self._bodies.read(request):
            return await self._done(request, self._app.unpause_workflow(request.path_params["name"]))

    async def drain(self, request: Request) -> Response:
        """`POST /workers/{id}/drain`, without a body. 409 if no live worker has this id."""
        Asked(request, ())
        async with self._bodies.read(request):
            return await self._done(request, self._app.drain_worker(request.path_params["name"]))

    async def _done(self, request: Request, call: Awaitable[None]) -> Response:
        async def conflicts() -> None:
            try:
                await call
            except UsageError as error:
                raise Refused(HTTPStatus.CONFLICT, str(error), "UsageError") from None

        await self._accepting.in_time(conflicts())
        return answer({"status": "done", "name": request.path_params["name"]})
