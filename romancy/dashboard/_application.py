"""The ASGI application: routes, the checks before them, and one place that turns every refusal into a page."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Literal

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, Router

from romancy.dashboard._acting import act_page
from romancy.dashboard._auth import OneTimeToken, admitted, hook_of, local
from romancy.dashboard._going_back import go_back_page
from romancy.dashboard._guard import HEADERS, check_host, check_origin, csrf_of, read_form
from romancy.dashboard._instance_page import instance_page, instance_question
from romancy.dashboard._instances_page import instances_page, instances_question
from romancy.dashboard._live import OpenPages
from romancy.dashboard._overview_page import EVERY, overview_page, overview_question
from romancy.dashboard._pages import render
from romancy.dashboard._paths_page import paths_page
from romancy.dashboard._pausing import pause_by_name_page
from romancy.dashboard._questions import question_page, questions_page
from romancy.dashboard._reader import Source
from romancy.dashboard._refused import InsteadError, RefusedError, forbidden, not_found
from romancy.dashboard._rollups import Rollups
from romancy.dashboard._sealing import Sealing
from romancy.dashboard._search_box import search_page
from romancy.dashboard._starting import start_page
from romancy.dashboard._static import static_file
from romancy.dashboard._visit import Visit, visit_of
from romancy.dashboard.bulk._bulk_page import bulk_page
from romancy.dashboard.bulk._job_page import confirm_page, job_page, jobs_page
from romancy.dashboard.bulk._jobs import Jobs
from romancy.dashboard.failures._pages import act_on_failures_page, failures_page, failures_question
from romancy.dashboard.limits._acting import free_page, limit_act_page
from romancy.dashboard.limits._pages import (
    lane_page,
    lane_question,
    limit_page,
    limit_question,
    limits_page,
    limits_question,
)
from romancy.dashboard.schedules._acting import schedule_act_page
from romancy.dashboard.schedules._pages import schedule_page, schedule_question, schedules_page, schedules_question
from romancy.dashboard.windows._pages import windows_page, windows_question
from romancy.errors import CodecError, InstanceNotFoundError, QueryError, StorageError, UsageError
from romancy.web.path_ids import AnyTextRoute

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from starlette.types import Message, Receive, Scope, Send

    from romancy.app import Romancy
    from romancy.dashboard._auth import Auth, Visitor
    from romancy.dashboard._reader import Reader

__all__ = ["Dashboard", "asgi"]

_log: Final = logging.getLogger("romancy.dashboard")
_READS: Final = frozenset({"GET", "HEAD"})
_WORDS: Final = {
    HTTPStatus.NOT_FOUND: "There is no such page.",
    HTTPStatus.METHOD_NOT_ALLOWED: "This page does not take this kind of request.",
}


def asgi(
    app_or_url: Romancy | str,
    *,
    auth: Auth | Literal["local"] | None = None,
    read_only: bool = False,
    hosts: Iterable[str] = (),
) -> Dashboard:
    """The dashboard of an app, or of the database at a URL, as an ASGI application to mount or to run.

    An app that is open is used as it is, and stays its owner's. Otherwise the dashboard opens the database at the first
    request and does not migrate it. A URL alone brings no code: payloads behind codecs stay closed, and workflows
    cannot be started.

    `auth` is called with each request, and returns who asks, as a name or a `Visitor`, or raises PermissionError (or
    Starlette's HTTPException, as for a redirect to a login). `auth="local"` answers this machine alone, as far as a
    request shows: peer and Host are loopback, and no header says that a proxy passed it on. So it trusts each program
    on this machine, also a proxy that adds no header, and everybody who reaches that. Without `auth` it raises
    UsageError. `read_only` removes every action. With `hosts`, only these names and loopback are answered.
    """
    if isinstance(hosts, str):
        raise UsageError("hosts= takes a list of names, as in hosts=['romancy.example.com']")
    return Dashboard(app_or_url, auth=auth, read_only=read_only, hosts=hosts)


class Dashboard:
    """The dashboard, as an ASGI application. `asgi` makes it."""

    def __init__(
        self,
        app_or_url: Romancy | str,
        *,
        auth: Auth | Literal["local"] | None,
        read_only: bool,
        hosts: Iterable[str],
    ) -> None:
        self.auth = hook_of(auth)
        self._source = Source(app_or_url)
        self._live = OpenPages()
        self._rollups = Rollups()
        self._sealing = Sealing()
        self._jobs = Jobs(self._source)
        self._read_only = read_only
        named = frozenset(host.lower() for host in hosts)
        self._hosts = named if named or self.auth is local or isinstance(auth, OneTimeToken) else None
        self._router = Router(self._routes(), redirect_slashes=False)

    @property
    def guarded(self) -> bool:
        """Whether `auth=` is a function, and not `"local"`."""
        return self.auth is not local

    async def open(self) -> None:
        """Open the database now, and continue an open job. Raises StorageError if it cannot be opened."""
        await self._reader()

    async def close(self) -> None:
        """End the streams of open pages, and close the database if the dashboard has opened it. A given app stays open.

        A later request opens the database again.
        """
        await self._live.close()
        self._rollups.forget()
        self._sealing.forget()
        await self._jobs.close()
        await self._source.close()

    async def _reader(self) -> Reader:
        reader = await self._source.reader()
        if not self._read_only:
            self._jobs.look(reader)
        return reader

    def _routes(self) -> list[Route]:
        return [
            self._page("/", self._overview),
            self._page("/instances", self._instances),
            self._page("/search", self._searches),
            self._page("/changes/instances", self._changes_of_list),
            self._page("/changes/overview", self._changes_of_overview),
            self._page("/changes/instance", self._changes_of_instance),
            self._page("/instance", self._instance),
            self._page("/instances/{instance_id:path}", self._instance),
            self._act("/act/{verb}", self._acts),
            self._act("/act/{verb}/{instance_id:path}", self._acts),
            self._act("/go-back", self._goes_back),
            self._act("/go-back/{instance_id:path}", self._goes_back),
            self._act("/by-name/{verb}/{kind}", self._pauses_by_name),
            self._act("/bulk/{verb}", self._bulk),
            self._act("/confirm", self._confirms),
            self._page("/paths", self._paths),
            self._page("/job", self._job),
            self._page("/jobs", self._newest_jobs),
            self._act("/start", self._starts),
            self._page("/schedules", self._schedules),
            self._page("/changes/schedules", self._changes_of_schedules),
            self._page("/changes/schedule", self._changes_of_schedule),
            self._page("/schedule", self._schedule),
            self._page("/schedules/{schedule_id:path}", self._schedule),
            self._act("/schedule/{verb}", self._acts_on_schedule),
            self._act("/schedule/{verb}/{schedule_id:path}", self._acts_on_schedule),
            self._page("/windows", self._windows),
            self._page("/changes/windows", self._changes_of_windows),
            self._act("/questions", self._questions),
            self._act("/question/{token}", self._question),
            self._page("/failures", self._failures),
            self._page("/changes/failures", self._changes_of_failures),
            self._act("/failures/{verb}", self._acts_on_failures),
            self._page("/limits", self._limits),
            self._page("/changes/limits", self._changes_of_limits),
            self._page("/changes/limit", self._changes_of_limit),
            self._page("/changes/lane", self._changes_of_lane),
            self._page("/limit", self._limit),
            self._page("/limits/{name:path}", self._limit),
            self._page("/lane", self._lane),
            self._act("/limit/{verb}", self._acts_on_limit),
            self._act("/limit/{verb}/{name:path}", self._acts_on_limit),
            self._act("/free", self._frees),
            self._act("/free/{instance_id:path}", self._frees),
            Route("/static/{name}", self._static),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1000})

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        scope = {**scope, "app": self}  # so that the router raises where it has no route
        request = Request(scope, receive)
        try:
            check_host(request, self._hosts)
            await self._router(scope, receive, guarded)
        except (HTTPException, RefusedError) as error:
            await self._refusal(request, error)(scope, receive, guarded)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        """The lifespan of an application that runs alone. A mounted one has none."""
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            else:
                await self.close()
                await send({"type": "lifespan.shutdown.complete"})
                return

    # ── the way of a request ────────────────────────────────────────────────────────────────────────────────────

    def _page(self, path: str, endpoint: Callable[[Request, Reader], Awaitable[Response]]) -> Route:
        """A route that only reads."""
        return AnyTextRoute(path, self._answering(endpoint), methods=["GET"])

    def _act(self, path: str, endpoint: Callable[[Request, Reader], Awaitable[Response]]) -> Route:
        """A route that asks for a confirmation (GET) and acts (POST). With `read_only` there are no such routes."""

        async def unless_read_only(request: Request, reader: Reader) -> Response:
            if self._read_only:
                raise forbidden("This dashboard is read-only.")
            return await endpoint(request, reader)

        return AnyTextRoute(path, self._answering(unless_read_only), methods=["GET", "POST"])

    def _answering(
        self, endpoint: Callable[[Request, Reader], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        """Admit the request, and turn any error into a page."""

        async def answer(request: Request) -> Response:
            try:
                await self._let_in(request)
                reader = await self._reader()
                given = request.query_params
                by_input = any(given.getlist("where") + given.getlist("header"))  # it could reveal sealed values
                if visit_of(request).payloads:
                    return await endpoint(request, await self._sealing.admit(reader) if by_input else reader)
                if by_input:
                    raise forbidden("You may not search by input or headers.")
                return await endpoint(request, reader.sealed())
            except InsteadError as instead:
                return instead.response
            except ClientDisconnect:
                return Response(status_code=HTTPStatus.BAD_REQUEST)  # the client has left
            except Exception as error:  # noqa: BLE001 - each becomes a page
                return self._refusal(request, error)

        return answer

    async def _let_in(self, request: Request) -> None:
        """Raise RefusedError or InsteadError unless the request may be answered with a page."""
        visitor = await admitted(self.auth, request)
        csrf, cookie = csrf_of(request)
        self._visit(request, visitor, csrf, cookie).keep(request)
        if request.method not in _READS:
            if self._read_only:
                raise forbidden("This dashboard is read-only.")
            check_origin(request)
            request.state.form = await read_form(request)

    def _visit(self, request: Request, visitor: Visitor, csrf: str, cookie: str | None) -> Visit:
        return Visit(
            base=str(request.scope.get("root_path", "")).rstrip("/"),
            who=visitor.name,
            payloads=visitor.payloads,
            csrf=csrf,
            cookie=cookie,
            read_only=self._read_only or not visitor.actions,
            actions=visitor.actions,
            has_app=self._source.app is not None,
            place=self._source.place,
        )

    def _refusal(self, request: Request, error: Exception) -> Response:
        status, words, headers = _told(error)
        if status == HTTPStatus.INTERNAL_SERVER_ERROR:
            _log.error("a page of the dashboard failed", exc_info=error)
        if request.method not in _READS and "hx-request" in request.headers:
            return PlainTextResponse(words, status, headers)
        let_in = "romancy.dashboard" in request.scope
        if not let_in:  # a visitor who was not admitted learns nothing about the database
            Visit(
                base=str(request.scope.get("root_path", "")).rstrip("/"), who="", csrf="", cookie=None,
                read_only=True, has_app=False, payloads=False, place="",
            ).keep(request)  # fmt: skip
        page = render(request, "refused.html", status=status, words=words, title=_title(status), let_in=let_in)
        page.headers.update(headers)
        return page

    # ── endpoints ───────────────────────────────────────────────────────────────────────────────────────────────

    async def _overview(self, request: Request, reader: Reader) -> Response:
        return await overview_page(request, reader, self._rollups)

    async def _instances(self, request: Request, reader: Reader) -> Response:
        return await instances_page(request, reader)

    async def _acts(self, request: Request, reader: Reader) -> Response:
        return await act_page(request, reader, request.path_params["verb"], _instance_id(request))

    async def _goes_back(self, request: Request, reader: Reader) -> Response:
        return await go_back_page(request, reader, await self._source.starter(), _instance_id(request))

    async def _bulk(self, request: Request, reader: Reader) -> Response:
        return await bulk_page(request, reader, self._jobs, request.path_params["verb"])

    async def _confirms(self, request: Request, reader: Reader) -> Response:
        return await confirm_page(request, reader, self._jobs, _instance_id(request))

    async def _searches(self, request: Request, reader: Reader) -> Response:
        return await search_page(request, reader, self._sealing)

    async def _paths(self, request: Request, reader: Reader) -> Response:
        return await paths_page(request, reader)

    async def _job(self, request: Request, reader: Reader) -> Response:
        return await job_page(request, reader, _instance_id(request))

    async def _newest_jobs(self, request: Request, reader: Reader) -> Response:
        return await jobs_page(request, reader)

    async def _starts(self, request: Request, _reader: Reader) -> Response:
        return await start_page(request, await self._source.starter())

    async def _questions(self, request: Request, reader: Reader) -> Response:
        return await questions_page(request, reader)

    async def _question(self, request: Request, reader: Reader) -> Response:
        return await question_page(request, reader, request.path_params["token"])

    async def _schedules(self, request: Request, reader: Reader) -> Response:
        return await schedules_page(request, reader)

    async def _schedule(self, request: Request, reader: Reader) -> Response:
        return await schedule_page(request, reader, _schedule_id(request))

    async def _acts_on_schedule(self, request: Request, reader: Reader) -> Response:
        return await schedule_act_page(request, reader, request.path_params["verb"], _schedule_id(request))

    async def _changes_of_schedules(self, request: Request, reader: Reader) -> Response:
        return self._live.stream(request, *schedules_question(request, reader))

    async def _changes_of_schedule(self, request: Request, reader: Reader) -> Response:
        return self._live.stream(request, *schedule_question(request, reader, _schedule_id(request)))

    async def _windows(self, request: Request, reader: Reader) -> Response:
        return await windows_page(request, reader)

    async def _changes_of_windows(self, request: Request, reader: Reader) -> Response:
        return self._live.stream(request, *windows_question(request, reader))

    async def _failures(self, request: Request, reader: Reader) -> Response:
        return await failures_page(request, reader)

    async def _acts_on_failures(self, request: Request, reader: Reader) -> Response:
        return await act_on_failures_page(request, reader, request.path_params["verb"])

    async def _changes_of_failures(self, request: Request, reader: Reader) -> Response:
        return self._live.stream(request, *failures_question(request, reader))

    async def _pauses_by_name(self, request: Request, reader: Reader) -> Response:
        return await pause_by_name_page(request, reader, request.path_params["verb"], request.path_params["kind"])

    async def _limits(self, request: Request, reader: Reader) -> Response:
        return await limits_page(request, reader)

    async def _limit(self, request: Request, reader: Reader) -> Response:
        return await limit_page(request, reader, _limit_name(request))

    async def _lane(self, request: Request, reader: Reader) -> Response:
        return await lane_page(request, reader, request.query_params.get("at", ""))

    async def _acts_on_limit(self, request: Request, reader: Reader) -> Response:
        return await limit_act_page(request, reader, request.path_params["verb"], _limit_name(request))

    async def _frees(self, request: Request, reader: Reader) -> Response:
        return await free_page(request, reader, _instance_id(request))

    async def _changes_of_limits(self, request: Request, reader: Reader) -> Response:
        return self._live.stream(request, *limits_question(reader))

    async def _changes_of_limit(self, request: Request, reader: Reader) -> Response:
        return self._live.stream(request, *limit_question(reader, _limit_name(request)))

    async def _changes_of_lane(self, request: Request, reader: Reader) -> Response:
        return self._live.stream(request, *lane_question(reader, request.query_params.get("at", "")))

    async def _changes_of_list(self, request: Request, reader: Reader) -> Response:
        return self._live.stream(request, *instances_question(request, reader))

    async def _changes_of_overview(self, request: Request, reader: Reader) -> Response:
        return self._live.stream(request, *overview_question(request, reader, self._rollups), every=EVERY)

    async def _changes_of_instance(self, request: Request, reader: Reader) -> Response:
        asked = request.query_params
        question = instance_question(reader, asked.get("id", ""), streams=asked.get("streams") == "true")
        return self._live.stream(request, *question)

    async def _instance(self, request: Request, reader: Reader) -> Response:
        return await instance_page(request, reader, _instance_id(request))

    async def _static(self, request: Request) -> Response:
        return static_file(request.path_params["name"])


def _instance_id(request: Request) -> str:
    """The id in the path, or in the query for ids that a browser would change in a path."""
    instance_id: str = request.path_params.get("instance_id") or request.query_params.get("id", "")
    if not instance_id:
        raise not_found("Which instance? Its id is missing.")
    return instance_id


def _schedule_id(request: Request) -> str:
    """The id in the path or in the query, likewise."""
    schedule_id: str = request.path_params.get("schedule_id") or request.query_params.get("id", "")
    if not schedule_id:
        raise not_found("Which schedule? Its id is missing.")
    return schedule_id


def _limit_name(request: Request) -> str:
    """The name in the path or in the query, likewise."""
    name: str = request.path_params.get("name") or request.query_params.get("id", "")
    if not name:
        raise not_found("Which limit? Its name is missing.")
    return name


def _title(status: int) -> str:
    return HTTPStatus(status).phrase if status in set(HTTPStatus) else "Refused"


def _told(error: Exception) -> tuple[int, str, dict[str, str]]:
    """The status, the text and the headers of the answer to an error. The text never holds a payload."""
    match error:
        case RefusedError():
            return error.status, error.words, error.headers
        case HTTPException():
            words = _WORDS.get(HTTPStatus(error.status_code), str(error.detail))
            return error.status_code, words, dict(error.headers or {})
        case InstanceNotFoundError():
            return HTTPStatus.NOT_FOUND, str(error), {}
        case QueryError() | UsageError():
            return HTTPStatus.BAD_REQUEST, str(error), {}
        case CodecError():
            return HTTPStatus.CONFLICT, f"This is sealed by a codec that the dashboard does not have: {error}", {}
        case StorageError():
            return HTTPStatus.SERVICE_UNAVAILABLE, f"The database does not answer: {error}", {"retry-after": "5"}
        case _:
            return HTTPStatus.INTERNAL_SERVER_ERROR, "The page failed. The log of the dashboard has the reason.", {}
