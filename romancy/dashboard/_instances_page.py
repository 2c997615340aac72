"""The list of instances."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.dashboard._pages import render

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from romancy.dashboard._reader import Reader

__all__ = ["instances_page"]


async def instances_page(request: Request, reader: Reader) -> Response:
    """A page of instances, newest first."""
    page = await reader.instances.list_instances(limit=50, page_token=request.query_params.get("page"))
    return render(request, "instances.html", page=page)
