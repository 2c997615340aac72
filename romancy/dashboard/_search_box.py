"""The one box: what is typed is an id, a part of one, a value of an input, or a part of an error, tried in this order.

An exact id leads to its page. Otherwise the page shows the newest instances of each kind, and links to their lists.
Each search looks at a bounded number of instances: what an index answers, or one slice.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
from starlette.responses import RedirectResponse

from romancy.dashboard._instances_page import Line, lines_of
from romancy.dashboard._pages import render
from romancy.dashboard._paths_page import declared_paths, sampled_paths
from romancy.dashboard._refused import RefusedError
from romancy.dashboard._search import Search
from romancy.dashboard._visit import visit_of
from romancy.errors import QueryError
from romancy.storage.limits import can_be_id
from romancy.storage.slices import find_in_slices

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from romancy.dashboard._reader import Reader
    from romancy.dashboard._sealing import Sealing

__all__ = ["search_page"]

_EACH: Final = 10
_PATHS: Final = 16
"""Upper bound on the paths of inputs in which a value is looked for."""
_SLICE: Final = 2_000


class _Asked(NamedTuple):
    """One of the searches for a text."""

    words: str
    search: Search
    path: str = ""


class _Part(NamedTuple):
    """What one of them has found."""

    words: str
    search: Search
    path: str
    lines: list[Line]
    more: bool
    back_to: datetime | None
    """How far it has looked, if it is not over."""


async def search_page(request: Request, reader: Reader, sealing: Sealing) -> Response:
    """Go to the instance whose id was typed, or show what has the text."""
    text = request.query_params.get("q", "").strip()
    if text and await _is_id(reader, text):
        return RedirectResponse(visit_of(request).instance_url(text), HTTPStatus.SEE_OTHER)
    found: list[_Part] = []
    in_inputs: list[_Part] | None = []
    fault = None
    try:
        if text:
            in_inputs = await _in_inputs(request, reader, sealing, text)
            in_id = await _found(reader, _Asked("In the id", Search(id=text)))
            in_error = await _found(reader, _Asked("In the error", Search(error=text)))
            found = [in_id, *(in_inputs or ()), in_error]
    except QueryError as error:
        fault = str(error)
    return render(
        request,
        "search.html",
        status=200 if fault is None else 400,
        text=text,
        fault=fault,
        parts_found=[one for one in found if one.lines],
        unfinished=[one for one in found if one.back_to is not None],
        inputs_searched=in_inputs is not None,
        lag=await reader.lists.lag(),
    )


async def _in_inputs(request: Request, reader: Reader, sealing: Sealing, text: str) -> list[_Part] | None:
    """What has the text as a value of its input; None if a search could reveal a sealed value."""
    if not visit_of(request).payloads:
        return None
    try:
        reader = await sealing.admit(reader)
        asked = [
            _Asked("In the input, at", Search(where=(f"{path}={value}",)), path)
            for path, value in await _values(reader, text)
        ]
        return list(await asyncio.gather(*(_found(reader, one) for one in asked)))
    except RefusedError:
        return None


async def _is_id(reader: Reader, text: str) -> bool:
    return can_be_id(text) and await reader.store.read(text, limit=0) is not None


async def _found(reader: Reader, asked: _Asked) -> _Part:
    found = await find_in_slices(reader.lists.store, asked.search.query(_EACH), within=0, first=_SLICE, largest=_SLICE)
    back_to = None if found.back_to is None else datetime.fromtimestamp(found.back_to / 1e6, UTC)
    return _Part(asked.words, asked.search, asked.path, lines_of(found.rows), found.next_token is not None, back_to)


async def _values(reader: Reader, text: str) -> list[tuple[str, str]]:
    """The paths where the text may be a value, those with an index first, each with the value as a condition has it."""
    kinds: dict[str, str | None] = dict.fromkeys(declared_paths(reader, Search()))
    kinds |= await sampled_paths(reader, Search())
    quoted = msgspec.json.encode(text).decode()
    found: list[tuple[str, str]] = []
    for path, kind in kinds.items():
        if kind in ("text", None):
            found.append((path, quoted))
        if kind in ("number", None) and _is_number(text):
            found.append((path, text))
    return found[:_PATHS]


def _is_number(text: str) -> bool:
    try:
        msgspec.json.decode(text, type=int | float)
    except msgspec.DecodeError:
        return False
    return True
