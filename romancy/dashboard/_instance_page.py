"""The page of one instance, one view at a time, and whether an open one has to be drawn again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from starlette.responses import PlainTextResponse, Response

from romancy.dashboard._acting import actions_for
from romancy.dashboard._pages import render
from romancy.dashboard._refused import not_found
from romancy.dashboard._visit import visit_of
from romancy.dashboard.instance import _asked, _views
from romancy.dashboard.instance._links import VIEWS, Links
from romancy.dashboard.instance._payload import payload
from romancy.engine import read_with_start
from romancy.errors import CodecError, HistoryCorruptError, HistoryVersionError, InstanceNotFoundError
from romancy.instance import Instance
from romancy.managing.lists import headers_of_instance
from romancy.managing.stream_tails import written_in
from romancy.managing.waits import untaken_by
from romancy.serialization import is_sealed
from romancy.status import TERMINAL_STATUSES
from romancy.storage.services import Service
from romancy.windows.looking import window_of
from romancy.windows.records import WINDOW

if TYPE_CHECKING:
    from starlette.requests import Request

    from romancy.dashboard._live import Question
    from romancy.dashboard._reader import Reader
    from romancy.storage.records import History, InstanceRow

__all__ = ["instance_page", "instance_question", "version_of"]

_LIVE: Final = frozenset({"timeline", "conversation", "graph", "family", "streams"})
"""The views that show the present."""


async def instance_page(request: Request, reader: Reader, instance_id: str) -> Response:
    """A view of the instance. Raises InstanceNotFoundError, and RefusedError for a view that does not exist."""
    found = await read_with_start(reader.store, instance_id)
    if found is None:
        raise InstanceNotFoundError("There is no instance with this id.")
    row, view = found.instance, _asked.one(request, "view") or "timeline"
    if view == "raw":
        return await _download(request, reader, row)
    if view not in VIEWS:
        raise not_found("An instance has no such view.")
    request.state.untaken = await untaken_by(reader.store, instance_id, row.status)
    head = _head(request, found, view)
    try:
        head["window"] = await window_of(reader.store, instance_id) if row.workflow_name == WINDOW else None
        values = await _views.VIEWS[view](request, reader.store, row)
    except (CodecError, HistoryCorruptError, HistoryVersionError) as error:
        return render(
            request, "instance/unreadable.html", **head, reason=str(error), sealed=isinstance(error, CodecError)
        )
    if view == "graph" and _asked.one(request, "as") == "mermaid" and values["graph"] is not None:
        return _attached(values["graph"].text.encode(), "text/plain; charset=utf-8", "graph.mmd")
    return render(request, f"instance/{view}.html", **head, **values)


def _head(request: Request, found: History, view: str) -> dict[str, Any]:
    """The content of each view. An open page that is told of a change requests only its part."""
    row = found.instance
    visit = visit_of(request)
    sealed = is_sealed(row.input, "input")
    instance, page = Instance.begun(found), visit.instance_url(row.instance_id)
    query = request.url.query
    return {
        "layout": "instance/part.html" if "hx-request" in request.headers else "base.html",
        "instance": instance,
        "actions": [one for one in actions_for(instance, request.state.untaken) if visit.may(one.verb)],
        "follows": view in _LIVE and row.status not in TERMINAL_STATUSES and not request.query_params.get("row"),
        "part": page.partition("?")[0] + (f"?{query}" if query else ""),
        "row": row,
        "version_of_page": version_of(row),
        "links": Links(page),
        "views": VIEWS,
        "view": view,
        "input": None if sealed else payload(bytes(row.input)),
        "window": None,
        "headers": headers_of_instance(instance)["headers"] or {},
    }


def version_of(row: InstanceRow) -> str:
    """What `instance_question` answers of this row, unless its log or a stream has gone on since."""
    return _version(row, row.last_seq, 0)


def _version(row: InstanceRow, end: int, lines: int) -> str:
    return f"{row.life}.{end}.{row.status}.{row.updated_at}.{row.signals}.{lines}"


async def _download(request: Request, reader: Reader, row: InstanceRow) -> Response:
    name, content = await _views.raw(request, reader.store, row)
    if is_sealed(content, "input"):
        raise not_found("The input is sealed by a codec that the dashboard does not have.")
    return _attached(content, "application/json", f"{name}.json")


def _attached(content: bytes, kind: str, name: str) -> Response:
    """Content that a browser saves and does not show."""
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    if kind.startswith("text/"):
        return PlainTextResponse(content, headers=headers)
    return Response(content, media_type=kind, headers=headers)


def instance_question(reader: Reader, instance_id: str, *, streams: bool = False) -> tuple[str, Question]:
    """The question of all pages of this instance, and their key. A look reads only what is new in the log.

    With `streams`, also what is new in its streams.
    """
    life = seq = number = 0

    async def question() -> str:
        nonlocal life, seq, number
        found = await reader.store.read(instance_id, after=seq)
        if found is not None and found.instance.life != life:  # seen for the first time, or a new life
            life, seq, number = found.instance.life, found.instance.last_seq, 0
            found = await reader.store.read(instance_id, after=seq)
        if found is None:
            return "gone"
        row = found.instance
        seq = found.rows[-1].seq if found.rows else seq
        if streams and Service.JOURNAL in reader.store.services.offered:
            async for line, _ in written_in(reader.store, instance_id, life, number):
                number = line.number
        return _version(row, max(seq, row.last_seq), number)

    return f"instance?{instance_id}{'&streams' if streams else ''}", question
