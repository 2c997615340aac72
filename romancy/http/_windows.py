"""Windows for programs in other languages and for operators: calls, and what becomes of them."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar

from romancy.errors import SerializationError
from romancy.http._answers import answer
from romancy.http._asking import Asked
from romancy.http._bodies import data_of
from romancy.http._decisions import call_of
from romancy.http._refusal import Refused, not_an_event
from romancy.http._routes import ManagementRoute
from romancy.query import told_as
from romancy.serialization import WRITTEN_BEFORE
from romancy.windows.declared import read_item
from romancy.windows.handle import tell_window
from romancy.windows.looking import window_of
from romancy.windows.records import WINDOW, Drop, Flush

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from starlette.requests import Request
    from starlette.responses import Response

    from romancy.app import Romancy
    from romancy.http._accepting import Accepting
    from romancy.http._bodies import Bodies
    from romancy.windows.handle import WindowHandle
    from romancy.windows.listing import WindowPage
    from romancy.windows.looking import Window
    from romancy.workflow import Workflow

__all__ = ["Gathering"]

T = TypeVar("T")
_PAGE, _MOST = 50, 200
_OF_START = ("timeout", "priority", "fair_key", "weight")


class Gathering:
    """The routes of windows."""

    def __init__(self, app: Romancy, accepting: Accepting, bodies: Bodies) -> None:
        self._app = app
        self._accepting = accepting
        self._bodies = bodies

    def routes(self) -> list[ManagementRoute]:
        """The routes, the more specific ones first."""
        window = "/windows/{window_id:path}"
        return [
            ManagementRoute("POST", "/workflows/{name}/debounce", self.debounce, "start"),
            ManagementRoute("POST", "/workflows/{name}/batch", self.batch, "start"),
            ManagementRoute("POST", f"{window}/flush", self.flush, "signal"),
            ManagementRoute("POST", f"{window}/drop", self.drop, "signal"),
            ManagementRoute("GET", window, self.one, "payloads"),
            ManagementRoute("GET", "/windows", self.list, "payloads"),
        ]

    async def debounce(self, request: Request) -> Response:
        """`POST /workflows/{name}/debounce?key=&wait=&max_wait=&id=&…`: the body is the input."""
        asked = Asked(request, ("key", "wait", "max_wait", "id", *_OF_START))
        key, wait = _needed(asked.text("key"), "key"), _needed(asked.seconds("wait"), "wait")
        workflow = self._workflow(request, asked)
        async with self._bodies.read(request) as body:
            call = call_of(workflow, data_of(request, body, "the input"), None)
            return await self._called(
                self._app.debounce(call, key, wait=wait, max_wait=asked.seconds("max_wait"), id=asked.text("id"))
            )

    async def batch(self, request: Request) -> Response:
        """`POST /workflows/{name}/batch?key=&size=&within=&id=&…`: the body is one item."""
        asked = Asked(request, ("key", "size", "within", "id", *_OF_START))
        key, size = _needed(asked.text("key"), "key"), _needed(asked.integer("size"), "size")
        within = _needed(asked.seconds("within"), "within")
        workflow = self._workflow(request, asked)
        async with self._bodies.read(request) as body:
            try:
                item = read_item(workflow, data_of(request, body, "the item"))
            except SerializationError as error:
                raise not_an_event(str(error).removesuffix(f"; {WRITTEN_BEFORE}"), type(error).__name__) from None
            return await self._called(
                self._app.batch(workflow, item, key, size=size, within=within, id=asked.text("id"))
            )

    def _workflow(self, request: Request, asked: Asked) -> Workflow[..., Any]:
        workflow = self._app.workflows.get(request.path_params["name"])
        if workflow is None:
            raise Refused(HTTPStatus.NOT_FOUND, "there is no workflow of this name", "WorkflowUnknownError")
        return workflow.options(
            timeout=asked.seconds("timeout"),
            priority=asked.integer("priority"),
            fair_key=asked.text("fair_key"),
            weight=asked.integer("weight"),
        )

    async def _called(self, call: Coroutine[Any, Any, WindowHandle[Any]]) -> Response:
        handle = await self._accepting.in_time(call)
        return answer({"status": "accepted", "window_id": handle.instance_id}, HTTPStatus.ACCEPTED)

    async def list(self, request: Request) -> Response:
        """`GET /windows?limit=&page=`: a page of those that have calls."""
        asked = Asked(request, ("limit", "page"))
        limit, token = asked.number("limit", _PAGE, _MOST), asked.text("page")

        async def read() -> WindowPage:
            with told_as({"page_token": "page"}):
                return await self._app.windows(limit=limit, page_token=token)

        page = await self._accepting.in_time(read())
        return answer({"windows": [_shown(one) for one in page.windows], "next_page": page.next_page_token})

    async def one(self, request: Request) -> Response:
        """`GET /windows/{id}`: one, with its last ten starts."""
        Asked(request, ())
        store = self._app._access.opened()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - as the app itself reads
        found = await self._accepting.in_time(window_of(store, request.path_params["window_id"]))
        if found is None:
            raise _unknown()
        return answer({**_shown(found), "starts": found.starts})

    async def flush(self, request: Request) -> Response:
        """`POST /windows/{id}/flush`: 409 if the window has ended, and has no calls."""
        return await self._told(request, Flush())

    async def drop(self, request: Request) -> Response:
        """`POST /windows/{id}/drop`."""
        return await self._told(request, Drop())

    async def _told(self, request: Request, told: Flush | Drop) -> Response:
        Asked(request, ())
        window_id = request.path_params["window_id"]
        found = await self._accepting.in_time(self._app.get_instance(window_id))
        if found is None or found.workflow_name != WINDOW:
            raise _unknown()
        if not await self._accepting.in_time(tell_window(self._app, window_id, told)):
            raise Refused(HTTPStatus.CONFLICT, "the window has ended, and has no calls", "InstanceEndedError")
        return answer({"status": "accepted", "window_id": window_id}, HTTPStatus.ACCEPTED)


def _unknown() -> Refused:
    return Refused(HTTPStatus.NOT_FOUND, "there is no window with this id", "InstanceNotFoundError")


def _needed(given: T | None, name: str) -> T:
    if given is None:
        raise not_an_event(f"{name}= is needed")
    return given


def _shown(found: Window) -> dict[str, Any]:
    return {
        "window_id": found.instance_id,
        "kind": found.kind,
        "workflow": found.workflow,
        "key": found.key,
        "calls": found.calls,
        "since": found.since,
        "due": found.due,
        "started": found.started,
    }
