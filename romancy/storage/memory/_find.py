"""Searches the in-memory rows: the specification of a query, without any index."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.storage.query import holds
from romancy.storage.records import Page

if TYPE_CHECKING:
    from collections.abc import Iterable

    from romancy.storage.memory._rows import Instance
    from romancy.storage.query import Query

__all__ = ["find_page"]


def find_page(rows: Iterable[Instance], query: Query) -> Page:
    """The page that the query asks for, newest first."""
    fitting = sorted((row for row in rows if _fits(row, query)), key=_place, reverse=True)
    page = fitting[: query.limit]
    token = None
    if len(fitting) > len(page):
        token = query.token_after(page[-1].created_at, page[-1].instance_id)
    return Page(rows=[row.public() for row in page], next_token=token)


def _place(row: Instance) -> tuple[int, bytes]:
    return row.created_at, row.instance_id.encode()


def _fits(row: Instance, query: Query) -> bool:
    return (
        query.fits_parts(row.workflow_name, row.instance_id)
        and (not query.statuses or row.status in query.statuses)
        and query.fits_end(row.status, row.updated_at)
        and (query.since is None or row.created_at >= query.since)
        and (query.after is None or _place(row) < (query.after.created_at, query.after.instance_id.encode()))
        and holds(row.projection, query.conditions)
    )
