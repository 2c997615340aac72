"""Limits for scripts of operators: list, change, pause, resume, reset, and give places back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from romancy.http._answers import answer
from romancy.http._asking import Asked
from romancy.http._json import checked
from romancy.http._refusal import not_an_event
from romancy.http._routes import ManagementRoute

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from starlette.requests import Request
    from starlette.responses import Response

    from romancy.app import Romancy
    from romancy.http._accepting import Accepting
    from romancy.http._bodies import Bodies
    from romancy.managing.lanes import Lane

__all__ = ["Turnstiles"]


class Turnstiles:
    """The routes of limits. Keys are stored in the clear, so whoever is let in may read them."""

    def __init__(self, app: Romancy, accepting: Accepting, bodies: Bodies) -> None:
        self._app = app
        self._accepting = accepting
        self._bodies = bodies

    def routes(self) -> list[ManagementRoute]:
        """The routes, the more specific ones first."""
        limit = "/limits/{name:path}"
        return [
            ManagementRoute("POST", f"{limit}/change", self.change, "limits"),
            ManagementRoute("POST", f"{limit}/pause", self.pause, "limits"),
            ManagementRoute("POST", f"{limit}/resume", self.resume, "limits"),
            ManagementRoute("POST", f"{limit}/reset", self.reset, "limits"),
            ManagementRoute("POST", "/free/{instance_id:path}", self.free, "limits"),
            ManagementRoute("GET", limit, self.one),
            ManagementRoute("GET", "/limits", self.list),
        ]

    async def list(self, request: Request) -> Response:
        """`GET /limits`: each limit and key with who is inside and who waits, the most crowded first."""
        return await self._listed(request, None)

    async def one(self, request: Request) -> Response:
        """`GET /limits/{name}`: the same of one limit. Nobody is there: an empty list."""
        return await self._listed(request, request.path_params["name"])

    async def change(self, request: Request) -> Response:
        """`POST /limits/{name}/change`: the body has `concurrency`, `rate` or both."""
        Asked(request, ())
        async with self._bodies.read(request) as body:
            given = _terms(body)
            name = request.path_params["name"]
            return await self._done(
                request, self._app.change_limit(name, concurrency=given.concurrency, rate=given.rate)
            )

    async def pause(self, request: Request) -> Response:
        """`POST /limits/{name}/pause`."""
        Asked(request, ())
        return await self._done(request, self._app.pause_limit(request.path_params["name"]))

    async def resume(self, request: Request) -> Response:
        """`POST /limits/{name}/resume`."""
        Asked(request, ())
        return await self._done(request, self._app.resume_limit(request.path_params["name"]))

    async def reset(self, request: Request) -> Response:
        """`POST /limits/{name}/reset`."""
        Asked(request, ())
        return await self._done(request, self._app.reset_limit(request.path_params["name"]))

    async def free(self, request: Request) -> Response:
        """`POST /free/{id}`: gives back the places of an instance. 404 if there is none."""
        Asked(request, ())
        instance_id = request.path_params["instance_id"]
        freed = await self._accepting.in_time(self._app.free_places(instance_id))
        return answer({"instance_id": instance_id, "freed": freed})

    async def _listed(self, request: Request, name: str | None) -> Response:
        Asked(request, ())
        found = await self._accepting.in_time(self._app.limits(name))
        return answer({"limits": [_shown(one) for one in found]})

    async def _done(self, request: Request, order: Awaitable[None]) -> Response:
        await self._accepting.in_time(order)
        return answer({"status": "done", "limit": request.path_params["name"]})


class _Terms(msgspec.Struct):
    concurrency: int | None = None
    rate: tuple[int, float] | None = None


def _terms(body: bytes) -> _Terms:
    checked(body, "the body")
    try:
        return msgspec.json.decode(body, type=_Terms)
    except msgspec.DecodeError:
        raise not_an_event('the body: send an object like {"concurrency": 3, "rate": [100, 60]}') from None


def _shown(found: Lane) -> dict[str, Any]:
    return {
        "limit": found.limit,
        "key": found.key,
        "taken": found.taken,
        "waiting": found.waiting,
        "oldest": found.oldest,
        "holders": found.holders,
        "concurrency": found.concurrency,
        "rate": found.rate,
        "chosen": found.chosen,
        "paused": found.paused,
    }
