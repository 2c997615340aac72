"""The list of schedules, and the page of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.dashboard._gone import unless_gone
from romancy.dashboard._instances_page import version_of_rows
from romancy.dashboard._pages import render
from romancy.dashboard._refused import not_found
from romancy.dashboard._visit import visit_of
from romancy.dashboard.schedules._acting import actions_for
from romancy.dashboard.schedules._shown import query_of, shown, shown_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from romancy.dashboard._live import Question
    from romancy.dashboard._reader import Reader

__all__ = ["schedule_page", "schedule_question", "schedules_page", "schedules_question"]


async def schedules_page(request: Request, reader: Reader) -> Response:
    """A page of schedules; for htmx, only its list."""
    page = request.query_params.get("page", "")
    store = reader.lists.store
    found = await unless_gone(request, store.services.reading.find(query_of(page)))
    return render(
        request,
        "schedules/_list.html" if "hx-request" in request.headers else "schedules/list.html",
        found=await unless_gone(request, shown_of(store, found.rows)),
        version_of_list=version_of_rows(found.rows),
        page=page,
        older=found.next_token,
        lag=await reader.lists.lag(),
    )


def schedules_question(request: Request, reader: Reader) -> tuple[str, Question]:
    """The question that an open list repeats, and its key."""
    page = request.query_params.get("page", "")
    query_of(page)  # refuses an invalid page now

    async def question() -> str:
        return version_of_rows((await reader.lists.store.services.reading.find(query_of(page))).rows)

    return f"schedules?{page}", question


async def schedule_page(request: Request, reader: Reader, schedule_id: str) -> Response:
    """One schedule; for htmx, its changing part alone."""
    found = await shown(reader.store, schedule_id)
    if found is None:
        raise not_found("There is no schedule with this id, or it was deleted.")
    layout = "instance/part.html" if "hx-request" in request.headers else "base.html"
    actions = actions_for(found) if visit_of(request).may("schedules") else []
    return render(request, "schedules/one.html", layout=layout, shown=found, actions=actions)


def schedule_question(request: Request, reader: Reader, schedule_id: str) -> tuple[str, Question]:
    """The question of all pages of this schedule, and the key of those that show as much."""

    async def question() -> str:
        found = await shown(reader.store, schedule_id)
        return "gone" if found is None else found.version

    return f"{'schedule' if visit_of(request).payloads else 'sealed schedule'}?{schedule_id}", question
