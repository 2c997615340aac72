"""Schedules for programs in other languages and for operators: list, look, pause, resume, trigger, backfill."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec

from romancy._schedule_options import check_overlap
from romancy.http._answers import answer
from romancy.http._asking import Asked
from romancy.http._json import checked
from romancy.http._refusal import Refused, not_an_event
from romancy.http._routes import ManagementRoute

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from starlette.requests import Request
    from starlette.responses import Response

    from romancy.app import Romancy
    from romancy.http._accepting import Accepting
    from romancy.http._bodies import Bodies
    from romancy.schedules.handle import Schedule, ScheduleHandle

__all__ = ["Timetable"]


class Timetable:
    """The routes of schedules."""

    def __init__(self, app: Romancy, accepting: Accepting, bodies: Bodies) -> None:
        self._app = app
        self._accepting = accepting
        self._bodies = bodies

    def routes(self) -> list[ManagementRoute]:
        """The routes, the more specific ones first."""
        schedule = "/schedules/{schedule_id:path}"
        return [
            ManagementRoute("POST", f"{schedule}/pause", self.pause, "schedules"),
            ManagementRoute("POST", f"{schedule}/resume", self.resume, "schedules"),
            ManagementRoute("POST", f"{schedule}/trigger", self.trigger, "schedules"),
            ManagementRoute("POST", f"{schedule}/backfill", self.backfill, "schedules"),
            ManagementRoute("GET", schedule, self.one, "payloads"),
            ManagementRoute("GET", "/schedules", self.list, "payloads"),
        ]

    async def list(self, request: Request) -> Response:
        """`GET /schedules`: all of them, by id."""
        Asked(request, ())
        found = await self._accepting.in_time(self._app.schedules())
        return answer({"schedules": [_shown(one) for one in found]})

    async def one(self, request: Request) -> Response:
        """`GET /schedules/{id}`: one, with its last ten runs."""
        Asked(request, ())
        found = await self._accepting.in_time(self._handle(request).get())
        if found is None:
            raise Refused(HTTPStatus.NOT_FOUND, "there is no schedule with this id", "InstanceNotFoundError")
        return answer({**_shown(found), "runs": found.runs})

    async def pause(self, request: Request) -> Response:
        """`POST /schedules/{id}/pause`: the body is empty, or an object with a note."""
        Asked(request, ())
        async with self._bodies.read(request) as body:
            return await self._ordered(request, self._handle(request).pause(_note(body)))

    async def resume(self, request: Request) -> Response:
        """`POST /schedules/{id}/resume`."""
        Asked(request, ())
        return await self._ordered(request, self._handle(request).resume())

    async def trigger(self, request: Request) -> Response:
        """`POST /schedules/{id}/trigger?overlap=`."""
        overlap = Asked(request, ("overlap",)).text("overlap")
        given = None if overlap is None else check_overlap(overlap, "trigger")
        return await self._ordered(request, self._handle(request).trigger(overlap=given))

    async def backfill(self, request: Request) -> Response:
        """`POST /schedules/{id}/backfill?from=&to=`: both are times with their offsets."""
        asked = Asked(request, ("from", "to"))
        first, last = asked.moment("from"), asked.moment("to")
        if first is None or last is None:
            raise not_an_event("from= and to= are needed: the first and the last time of what is to be started")
        return await self._ordered(request, self._handle(request).backfill(first, last))

    async def _ordered(self, request: Request, order: Awaitable[None]) -> Response:
        await self._accepting.in_time(order)
        body = {"status": "accepted", "schedule_id": request.path_params["schedule_id"]}
        return answer(body, HTTPStatus.ACCEPTED)

    def _handle(self, request: Request) -> ScheduleHandle:
        return self._app.schedule_handle(request.path_params["schedule_id"])


class _Pausing(msgspec.Struct):
    note: str = ""


def _note(body: bytes) -> str:
    if not body.strip():
        return ""
    checked(body, "the body")
    try:
        return msgspec.json.decode(body, type=_Pausing).note
    except msgspec.DecodeError:
        raise not_an_event('the body: send nothing, or an object like {"note": "…"}') from None


def _shown(found: Schedule) -> dict[str, Any]:
    return {
        "schedule_id": found.id,
        "workflow": found.workflow,
        "due": found.timing,
        "overlap": found.overlap,
        "catchup": found.catchup,
        "pause_on_failure": found.pause_on_failure,
        "paused": found.paused,
        "next": found.next,
        "started": found.started,
        "skipped": found.skipped,
        "failed": found.failed,
    }
