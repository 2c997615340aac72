"""Workflows for programs in other languages: start, signal, list, ask, wait for the result, follow, cancel."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.responses import Response, StreamingResponse

from romancy.errors import (
    InstanceNotFoundError,
    UsageError,
    WorkflowCancelledError,
    WorkflowFailedError,
    WorkflowStuckError,
)
from romancy.http._answers import accepted, answer
from romancy.http._asking import Asked
from romancy.http._bodies import data_of, pause_of, reason_of
from romancy.http._choosing import NAMES, SEVERAL, SINGLE, chosen
from romancy.http._decisions import call_of, typed
from romancy.http._durable_streams import PARAMETERS, DurableStream, is_of_protocol
from romancy.http._permits import check_choosing, check_topic, sees_payloads
from romancy.http._progress import item_of, progress_of, stream_of
from romancy.http._refusal import Refused
from romancy.http._routes import ManagementRoute
from romancy.kept_logs import LEVELS, fields_of_line
from romancy.managing.lists import headers_of_instance, result_of
from romancy.managing.waits import untaken_by
from romancy.query import told_as
from romancy.status import TERMINAL_STATUSES
from romancy.storage.journal import LINES_AT_ONCE

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping

    from starlette.requests import Request

    from romancy.app import Romancy
    from romancy.event import EventType
    from romancy.http._accepting import Accepting
    from romancy.http._bodies import Bodies
    from romancy.http._waits import Waits
    from romancy.instance import Instance, InstancePage, Untaken
    from romancy.status import Status
    from romancy.stream import StreamItem

__all__ = ["Management"]

T = TypeVar("T")

_PAGE = 50
_LINES = 200
_MOST_RESULTS = 100
"""Each may have four megabytes, and an answer is made in memory."""
_NOT_FOUND = "there is no instance with this id"


class Management:
    """The routes that act on instances by their ids."""

    def __init__(
        self,
        app: Romancy,
        types: Mapping[str, EventType[Any]],
        accepting: Accepting,
        bodies: Bodies,
        waits: Waits,
        *,
        max_wait: float,
        beat: float,
    ) -> None:
        self._app = app
        self._types = types
        self._accepting = accepting
        self._bodies = bodies
        self._waits = waits
        self._max_wait = max_wait
        self._beat = beat

    def routes(self) -> list[ManagementRoute]:
        """The routes, the more specific ones first."""
        instance = "/instances/{instance_id:path}"
        return [
            ManagementRoute("POST", "/workflows/{name}", self.start, "start"),
            ManagementRoute("POST", "/cancel/{instance_id:path}", self.cancel, "cancel"),
            ManagementRoute("POST", "/pause/{instance_id:path}", self.pause, "pause"),
            ManagementRoute("POST", "/unpause/{instance_id:path}", self.unpause, "unpause"),
            ManagementRoute("POST", f"{instance}/signals/{{type}}", self.signal, "signal"),
            ManagementRoute("GET", f"{instance}/result", self.result, "payloads"),
            ManagementRoute("GET", f"{instance}/progress", self.progress, "payloads"),
            ManagementRoute("GET", f"{instance}/logs", self.logs, "payloads"),
            ManagementRoute("GET", f"{instance}/streams/{{name}}", self.stream, "payloads"),
            ManagementRoute("GET", instance, self.status),
            ManagementRoute("GET", "/instances", self.list),
            ManagementRoute("GET", "/count", self.count),
        ]

    async def start(self, request: Request) -> Response:
        """`POST /workflows/{name}`, with options of the start in the query: the body is the input.

        409 if no place is free and the start is skipped. With `undecided=true` it does not wait for that.
        """
        asked = Asked(request, ("instance_id", "delay", "at", "timeout", "priority", "fair_key", "weight", "undecided"))
        undecided = asked.flag("undecided")
        name = request.path_params["name"]
        workflow = self._app.workflows.get(name)
        if workflow is None:
            raise Refused(HTTPStatus.NOT_FOUND, "there is no workflow of this name", "WorkflowUnknownError")
        async with self._bodies.read(request) as body:
            raw = data_of(request, body, "the input")
            plain = workflow.options(
                delay=asked.seconds("delay"),
                at=asked.moment("at"),
                timeout=asked.seconds("timeout"),
                priority=asked.integer("priority"),
                fair_key=asked.text("fair_key"),
                weight=asked.integer("weight"),
            )
            call = call_of(plain, raw, asked.text("instance_id"))
            (handle,) = await self._accepting.in_time(self._app.start_many([call]))
        if call.workflow.skips and not undecided:
            await self._accepting.decided(call.workflow, handle.instance_id)
        return answer(accepted(handle.instance_id), HTTPStatus.ACCEPTED)

    async def signal(self, request: Request) -> Response:
        """`POST /instances/{id}/signals/{type}?key=&id=`: the body is the data."""
        asked = Asked(request, ("key", "id"))
        instance_id, name = request.path_params["instance_id"], request.path_params["type"]
        check_topic(request, name)
        declared = self._types.get(name)
        async with self._bodies.read(request) as body:
            raw = data_of(request, body, "the data")
            data = typed(raw, object if declared is None else declared.data, f"data of the signal {name!r}")
            event: Any = name if declared is None else declared
            await self._accepting.in_time(
                self._app.signal(instance_id, event, data, key=asked.text("key"), id=asked.text("id"))
            )
        return answer(accepted(instance_id), HTTPStatus.ACCEPTED)

    async def cancel(self, request: Request) -> Response:
        """`POST /cancel/{id}`: the body is empty, or an object with a reason. 409 if the instance has ended."""
        Asked(request, ())
        instance_id = request.path_params["instance_id"]
        async with self._bodies.read(request) as body:
            asked = await self._accepting.in_time(self._app.cancel(instance_id, reason=reason_of(body)))
        status = await self._status(instance_id)
        if not asked:
            raise Refused(HTTPStatus.CONFLICT, f"the instance has ended: {status}", "InstanceEndedError")
        return answer({"status": str(status), "instance_id": instance_id, "cancel": "requested"})

    async def pause(self, request: Request) -> Response:
        """`POST /pause/{id}`: the body is empty, or an object (`reason`, `freeze_time`). 409 if it cannot be paused.

        The status is not `paused` yet while activities are at work.
        """
        Asked(request, ())
        instance_id = request.path_params["instance_id"]
        async with self._bodies.read(request) as body:
            asked = pause_of(body)
            await self._pausing(self._app.pause(instance_id, reason=asked.reason, freeze_time=asked.freeze_time))
        return answer({"status": str(await self._status(instance_id)), "instance_id": instance_id})

    async def unpause(self, request: Request) -> Response:
        """`POST /unpause/{id}`, without a body. 409 if it is not paused."""
        Asked(request, ())
        instance_id = request.path_params["instance_id"]
        async with self._bodies.read(request):
            await self._pausing(self._app.unpause(instance_id))
        return answer({"status": str(await self._status(instance_id)), "instance_id": instance_id})

    async def _pausing(self, call: Awaitable[object]) -> None:
        async def conflicts() -> None:
            try:
                await call
            except InstanceNotFoundError:
                raise InstanceNotFoundError(_NOT_FOUND) from None
            except UsageError as error:
                raise Refused(HTTPStatus.CONFLICT, str(error), "UsageError") from None

        await self._accepting.in_time(conflicts())

    async def status(self, request: Request) -> Response:
        """`GET /instances/{id}`."""
        Asked(request, ())
        found, untaken = await self._accepting.in_time(self._looked(request.path_params["instance_id"]))
        headers = headers_of_instance(found) if sees_payloads(request, self._app) else {}
        return answer({**_shown(found), **headers, "untaken": untaken})

    async def _looked(self, instance_id: str) -> tuple[Instance, tuple[Untaken, ...]]:
        """The instance, with what was sent to it and not taken. Of its log, the first commit is read."""
        found = await self._app.get_instance(instance_id)
        if found is None:
            raise InstanceNotFoundError(_NOT_FOUND)
        return found, await untaken_by(self._app._access.opened(), instance_id, found.status)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - as the app itself reads

    async def list(self, request: Request) -> Response:
        """`GET /instances?workflow=&status=&id=&…&limit=&page=&results=&headers=`: a page, newest or oldest first."""
        asked = Asked(request, (*SINGLE, "oldest_first", "limit", "page", "results", "headers"), SEVERAL)
        results, headers = asked.flag("results"), asked.flag("headers")
        check_choosing(request, self._app)

        async def read() -> InstancePage:
            with told_as(NAMES):
                return await self._app.list_instances(
                    chosen(asked),
                    oldest_first=asked.flag("oldest_first"),
                    limit=asked.number("limit", _PAGE, _MOST_RESULTS if results or headers else None),
                    page_token=asked.text("page"),
                    with_results=results,
                    with_headers=headers,
                )

        page = await self._accepting.in_time(read())
        shown = [
            {**_shown(each), **headers_of_instance(each), **(result_of(each) if results else {})}
            for each in page.instances
        ]
        return answer({"instances": shown, "next_page": page.next_page_token}, headers=await self._lag())

    async def count(self, request: Request) -> Response:
        """`GET /count`, with the filters of `GET /instances`: how many there are, by status and by workflow."""
        check_choosing(request, self._app)
        counts = await self._accepting.in_time(self._app.count(chosen(Asked(request, SINGLE, SEVERAL))))
        by_status = {str(status): number for status, number in counts.by_status.items()}
        body = {"count": int(counts), "by_status": by_status, "by_workflow": counts.by_workflow}
        return answer(body, headers=await self._lag())

    async def _lag(self) -> dict[str, str]:
        """The header that says how far the standby is behind, in seconds, if lists are read from one."""
        lag = await self._accepting.in_time(self._app.read_lag())
        if lag is None:
            return {}
        return {"romancy-read-lag": "away" if lag.away else "unknown" if lag.seconds is None else f"{lag.seconds:.3f}"}

    async def result(self, request: Request) -> Response:
        """`GET /instances/{id}/result?timeout=`: 200 once it has ended, 202 if it does not end within the time."""
        asked = Asked(request, ("timeout",))
        instance_id = request.path_params["instance_id"]
        timeout = asked.seconds("timeout", self._max_wait)
        status = await self._status(instance_id)
        if request.method == "HEAD":
            return answer({}, HTTPStatus.OK if status in TERMINAL_STATUSES else HTTPStatus.ACCEPTED)
        self._waits.check()
        with self._waits.place():
            ended = await self._waits.unless_gone(request, self._end_of(instance_id, timeout or 0.0))
        if ended is None:
            ended = await self._still_open(instance_id)
        is_over = ended["status"] in TERMINAL_STATUSES
        return answer({"instance_id": instance_id, **ended}, HTTPStatus.OK if is_over else HTTPStatus.ACCEPTED)

    async def _end_of(self, instance_id: str, timeout: float) -> dict[str, Any]:
        try:
            return {"status": "completed", "result": await self._app.handle(instance_id).result(timeout=timeout)}
        except TimeoutError:
            return await self._still_open(instance_id)
        except WorkflowFailedError as error:
            return {"status": "failed", "error": str(error), "error_type": error.error_type}
        except WorkflowCancelledError as error:
            return {"status": "cancelled", "error": str(error)}
        except WorkflowStuckError as error:
            return await self._still_open(instance_id, reason=error.reason)

    async def _still_open(self, instance_id: str, **more: Any) -> dict[str, Any]:
        """The status of an instance that had not ended; its end, if it has ended just now."""
        status = await self._status(instance_id)
        if status in TERMINAL_STATUSES:
            return await self._end_of(instance_id, self._max_wait)  # a retry may have begun since
        return {"status": str(status), **more}

    async def progress(self, request: Request) -> Response:
        """`GET /instances/{id}/progress`: server-sent events until the instance has ended."""
        Asked(request, ())
        instance_id = request.path_params["instance_id"]
        await self._status(instance_id)
        after = request.headers.get("last-event-id") or None
        return self._events(request, lambda: self._app.entries_of(instance_id, after=after, follow=True), progress_of)

    async def stream(self, request: Request) -> Response:
        """`GET /instances/{id}/streams/{name}?settled=`: server-sent events until the instance has ended.

        With `offset=`, `live=` or `cursor=`, and to HEAD, it answers by the Durable Streams protocol.
        """
        asked = Asked(request, ("settled", *PARAMETERS))
        instance_id, name = request.path_params["instance_id"], request.path_params["name"]
        after, settled = request.headers.get("last-event-id") or None, asked.flag("settled")
        await self._status(instance_id)
        if request.method == "HEAD" or is_of_protocol(asked):
            return await self._durable(request, asked, instance_id, name)

        async def is_there() -> None:
            async for _ in self._app.stream_of(instance_id, name, after=after, follow=False, settled=settled):
                return

        await self._accepting.in_time(is_there())
        return self._events(
            request, lambda: self._app.stream_of(instance_id, name, after=after, settled=settled), item_of
        )

    async def _durable(self, request: Request, asked: Asked, instance_id: str, name: str) -> Response:
        settled = asked.flag("settled")

        def read(after: str | None, follow: bool) -> AsyncIterator[StreamItem[Any]]:  # noqa: FBT001
            return self._app.stream_of(instance_id, name, after=after, follow=follow, settled=settled)

        async def ended() -> bool:
            return await self._status(instance_id) in TERMINAL_STATUSES

        return await DurableStream(asked, read, ended, self._waits).answer(request)

    def _events(
        self, request: Request, entries: Callable[[], AsyncIterator[T]], told: Callable[[T], bytes]
    ) -> Response:
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        if request.method == "HEAD":
            return Response(headers=headers, media_type="text/event-stream")
        self._waits.check()
        stream = self._stream(request.path_params["instance_id"], entries(), told)
        return StreamingResponse(stream, media_type="text/event-stream", headers=headers)

    async def logs(self, request: Request) -> Response:
        """`GET /instances/{id}/logs?after=&limit=&level=`: a page of log lines, the oldest first.

        `next` is the cursor of the next page. It is null behind the last line for now.
        """
        asked = Asked(request, ("after", "limit", "level"))
        instance_id, limit = request.path_params["instance_id"], asked.integer("limit")
        if limit is not None and not 1 <= limit <= LINES_AT_ONCE:
            raise Refused(HTTPStatus.BAD_REQUEST, f"limit must be from 1 to {LINES_AT_ONCE}", "UsageError")
        level = asked.text("level")
        if level is not None and level not in LEVELS:
            raise Refused(HTTPStatus.BAD_REQUEST, f"level must be one of {', '.join(LEVELS)}", "UsageError")
        await self._status(instance_id)
        page = self._app.log_page(instance_id, after=asked.text("after"), level=level, limit=limit or _LINES)
        found = await self._accepting.in_time(page)
        return answer({"lines": [fields_of_line(one) for one in found.lines], "next": found.next_cursor})

    async def _stream(
        self, instance_id: str, entries: AsyncIterator[T], told: Callable[[T], bytes]
    ) -> AsyncGenerator[bytes]:
        async def end() -> object:
            try:
                return {"status": str(await self._app.handle(instance_id).status())}
            except InstanceNotFoundError:
                return {"status": "gone"}

        with self._waits.place():
            async for event in stream_of(entries, told, end, self._waits.over, self._beat):
                yield event

    async def _status(self, instance_id: str) -> Status:
        """Its status, from its row alone."""

        async def read() -> Status:
            try:
                return await self._app.handle(instance_id).status()
            except InstanceNotFoundError:
                raise InstanceNotFoundError(_NOT_FOUND) from None

        status: Status = await self._accepting.in_time(read())
        return status


def _shown(found: Instance) -> dict[str, Any]:
    return {
        "instance_id": found.instance_id,
        "workflow": found.workflow_name,
        "status": str(found.status),
        "created_at": found.created_at,
        "updated_at": found.updated_at,
        "wakes_at": found.wakes_at,
        "parent_id": found.parent_id,
        "priority": found.priority,
        "error": found.error,
    }
