"""Searches and counts the in-memory rows: the specification of a query, without any index."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from romancy.storage.query import holds
from romancy.storage.records import Page

if TYPE_CHECKING:
    from collections.abc import Iterable

    from romancy.status import Status
    from romancy.storage.memory._rows import Instance
    from romancy.storage.query import Query

__all__ = ["count_rows", "find_page"]


def find_page(rows: Iterable[Instance], query: Query) -> Page:
    """The page that the query asks for, in its order."""
    fitting = sorted((row for row in rows if _fits(row, query)), key=_place, reverse=not query.oldest_first)
    page = fitting[: query.limit]
    token = None
    if len(fitting) > len(page):
        token = query.token_after(page[-1].created_at, page[-1].instance_id)
    return Page(rows=[row.public() for row in page], next_token=token)


def count_rows(rows: Iterable[Instance], query: Query) -> dict[tuple[str, Status], int]:
    """How many rows fit, by workflow and status."""
    return dict(Counter((row.workflow_name, row.status) for row in rows if _fits(row, query)))


def _place(row: Instance) -> tuple[int, bytes]:
    return row.created_at, row.instance_id.encode()


def _fits(row: Instance, query: Query) -> bool:
    return (
        query.fits_parts(row.workflow_name, row.instance_id)
        and (not query.statuses or row.status in query.statuses)
        and query.fits_end(row.status, row.updated_at)
        and query.fits_family(row.instance_id, row.parent)
        and query.fits_place(row.created_at, row.instance_id)
        and holds(row.projection, query.conditions)
    )
