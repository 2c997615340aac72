"""The overview: what there is, and what needs somebody."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.dashboard._instances_page import lines_of
from romancy.dashboard._pages import render
from romancy.storage.query import build_query

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from romancy.dashboard._reader import Reader

__all__ = ["overview_page"]


async def overview_page(request: Request, reader: Reader) -> Response:
    """The newest instances, and the workers."""
    page = await reader.store.find(build_query(limit=10))
    census = await reader.store.census()
    workers = [peer for peer in census.workers if peer.works]
    return render(request, "overview.html", newest=lines_of(page.rows), workers=workers, now=census.now)
