"""The list of windows. Each one of a page is read, and an open page asks only whether their rows have changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from romancy.dashboard._gone import unless_gone
from romancy.dashboard._instances_page import version_of_rows
from romancy.dashboard._pages import render
from romancy.windows.listing import looked_at, query_of_windows
from romancy.windows.looking import Window

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from romancy.dashboard._live import Question
    from romancy.dashboard._reader import Reader
    from romancy.storage.query import Query

__all__ = ["windows_page", "windows_question"]

_EACH: Final = 50


class _Shown(NamedTuple):
    instance_id: str
    window: Window | None
    """None: it is sealed."""


async def windows_page(request: Request, reader: Reader) -> Response:
    """A page of windows; for htmx, only its list."""
    page = request.query_params.get("page", "")
    store = reader.lists.store
    found = await unless_gone(request, store.services.reading.find(_query(page)))
    ids = [row.instance_id for row in found.rows]
    looked = await unless_gone(request, looked_at(reader.store, ids))
    shown = [
        _Shown(one, window if isinstance(window, Window) else None)
        for one, window in zip(ids, looked, strict=True)
        if window is not None
    ]
    return render(
        request,
        "windows/_list.html" if "hx-request" in request.headers else "windows/list.html",
        found=shown,
        version_of_list=version_of_rows(found.rows),
        page=page,
        older=found.next_token,
        lag=await reader.lists.lag(),
    )


def windows_question(request: Request, reader: Reader) -> tuple[str, Question]:
    """The question that an open list repeats, and its key."""
    page = request.query_params.get("page", "")
    _query(page)  # refuses an invalid page now

    async def question() -> str:
        return version_of_rows((await reader.lists.store.services.reading.find(_query(page))).rows)

    return f"windows?{page}", question


def _query(page: str) -> Query:
    return query_of_windows(_EACH, page or None)
