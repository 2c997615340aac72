"""The list of lanes, the page of a limit and that of a lane."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.dashboard._gone import unless_gone
from romancy.dashboard._pages import render
from romancy.dashboard._visit import visit_of
from romancy.dashboard.limits._acting import actions_for
from romancy.dashboard.limits._shown import EACH, ShownLimit, shown_lane, shown_limit, version_of
from romancy.managing.lanes import lanes_of, routed

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from romancy.dashboard._live import Question
    from romancy.dashboard._reader import Reader
    from romancy.dashboard.limits._acting import Action

__all__ = ["lane_page", "lane_question", "limit_page", "limit_question", "limits_page", "limits_question"]


async def limits_page(request: Request, reader: Reader) -> Response:
    """The most crowded lanes of all limits; for htmx, only the list."""
    found = await unless_gone(request, lanes_of(routed(reader.store), most=EACH))
    template = "limits/_list.html" if "hx-request" in request.headers else "limits/list.html"
    return render(request, template, lanes=found, version_of_list=version_of(found), most=EACH)


def limits_question(reader: Reader) -> tuple[str, Question]:
    """The question that an open list repeats, and its key."""

    async def question() -> str:
        return version_of(await lanes_of(routed(reader.store), most=EACH))

    return "limits", question


async def limit_page(request: Request, reader: Reader, name: str) -> Response:
    """One limit; for htmx, its changing part alone."""
    found = await unless_gone(request, shown_limit(reader.store, name))
    actions = _offered(request, found)
    version = version_of(found)
    return render(
        request, "limits/one.html", layout=_layout(request), shown=found, actions=actions, version_of_page=version
    )


def limit_question(reader: Reader, name: str) -> tuple[str, Question]:
    """The question of all pages of this limit, and their key."""

    async def question() -> str:
        return version_of(await shown_limit(reader.store, name))

    return f"limit?{name}", question


async def lane_page(request: Request, reader: Reader, address: str) -> Response:
    """One lane: who is inside, and who waits in which order; for htmx, its changing part alone."""
    found = await unless_gone(request, shown_lane(reader.store, address))
    actions = _offered(request, ShownLimit(found.lane.limit, {address: found.lane}))
    version = version_of(found)
    may = visit_of(request).may("limits")
    return render(
        request,
        "limits/lane.html",
        layout=_layout(request),
        shown=found,
        actions=actions,
        version_of_page=version,
        may=may,
    )


def lane_question(reader: Reader, address: str) -> tuple[str, Question]:
    """The question of all pages of this lane, and their key."""

    async def question() -> str:
        return version_of(await shown_lane(reader.store, address))

    return f"lane?{address}", question


def _offered(request: Request, found: ShownLimit) -> list[Action]:
    return actions_for(found) if visit_of(request).may("limits") else []


def _layout(request: Request) -> str:
    return "instance/part.html" if "hx-request" in request.headers else "base.html"
