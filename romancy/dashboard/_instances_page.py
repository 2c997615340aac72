"""The list of instances: one page of a search, newest first, and whether it has changed."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from romancy.dashboard._acting import ACTIONS
from romancy.dashboard._gone import unless_gone
from romancy.dashboard._pages import render
from romancy.dashboard._search import WITHIN, Search
from romancy.dashboard._visit import visit_of
from romancy.dashboard.bulk._bulk_page import bulk_actions
from romancy.errors import QueryError
from romancy.instance import Instance
from romancy.serialization import is_sealed
from romancy.storage.slices import Found, find_in_slices

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from romancy.dashboard._live import Question
    from romancy.dashboard._reader import Reader
    from romancy.storage.protocol import Store
    from romancy.storage.query import Query
    from romancy.storage.records import InstanceRow

__all__ = ["Line", "instances_page", "instances_question", "lines_of", "version_of_rows"]

_EACH: Final = 50
_PREVIEW: Final = 200


class Line(NamedTuple):
    """A line of a list: an instance, and the beginning of its input or of its error."""

    instance: Instance
    preview: str
    sealed: bool
    cut: bool


async def instances_page(request: Request, reader: Reader) -> Response:
    """The requested page; for htmx, only its list."""
    search = Search.of(request.query_params.multi_items())
    found, fault = Found([], None, None, [], sliced=False), None
    try:
        query = search.query(_EACH)
        found = await unless_gone(request, _find(reader.lists.store, search, query))
    except QueryError as error:
        fault = str(error)
    return render(
        request,
        "_list.html" if "hx-request" in request.headers else "instances.html",
        status=200 if fault is None else 400,
        search=search,
        bulk=[] if fault else [one for one in bulk_actions(search) if visit_of(request).may(one.verb)],
        choose=[one for one in ACTIONS.values() if visit_of(request).may(one.verb)],
        found=found,
        lines=lines_of(found.rows),
        older=found.next_token,
        back_to=None if found.back_to is None else datetime.fromtimestamp(found.back_to / 1e6, UTC),
        declare=search.path_to_declare if found.undeclared else "",
        fault=fault,
        lag=await reader.lists.lag(),
        version_of_list=version_of_rows(found.rows),
        within=WITHIN,
    )


async def _find(store: Store, search: Search, query: Query) -> Found:
    """The page of the search. A complete id is found at once, however old the instance is."""
    found = await find_in_slices(store, query)
    if found.back_to is None or found.rows or search._replace(id="") != Search():
        return found
    exact = await store.read(search.id, limit=0)
    return found if exact is None else found._replace(rows=[exact.instance])


def instances_question(request: Request, reader: Reader) -> tuple[str, Question]:
    """The question that an open list repeats, and the key that lists of the same search share."""
    search = Search.of((name, value) for name, value in request.query_params.multi_items() if name != "seen")
    search.query(_EACH)  # refuses an invalid search now

    async def question() -> str:
        query: Query = search.query(_EACH)  # built again: a range of time moves with the clock
        return version_of_rows((await find_in_slices(reader.lists.store, query)).rows)

    return f"instances?{search.encoded()}", question


def lines_of(rows: Sequence[InstanceRow]) -> list[Line]:
    """The lines of these instances."""
    return [_line(row) for row in rows]


def version_of_rows(rows: Sequence[InstanceRow]) -> str:
    """A text that changes with what a list shows of these instances."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(f"{row.instance_id}\0{row.life}\0{row.status}\0{row.updated_at}\n".encode())
    return digest.hexdigest()[:16]


def _line(row: InstanceRow) -> Line:
    instance = Instance.of(row)
    if instance.error:
        return Line(instance, instance.error[:_PREVIEW], sealed=False, cut=len(instance.error) > _PREVIEW)
    if is_sealed(row.input, "input"):
        return Line(instance, "", sealed=True, cut=False)
    text = row.input[: 4 * _PREVIEW].decode("utf-8", "replace")
    return Line(instance, text[:_PREVIEW], sealed=False, cut=len(text) > _PREVIEW)
