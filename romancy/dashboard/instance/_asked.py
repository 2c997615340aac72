"""Reads the parameters of an instance's page. Malformed requests are refused."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from romancy.dashboard._refused import bad_request
from romancy.dashboard.instance import _places

if TYPE_CHECKING:
    from starlette.requests import Request

    from romancy.insight import Place

__all__ = ["one", "place_of", "span_of"]

_OFFSET: Final = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,3})?", re.ASCII)
_SECOND: Final = 1_000_000


def one(request: Request, name: str) -> str:
    """A value of the query, empty if there is none. Raises RefusedError for several."""
    given = request.query_params.getlist(name)
    if len(given) > 1:
        raise bad_request(f"{name} stands in the address more than once.")
    return given[0].strip() if given else ""


def place_of(request: Request, name: str) -> Place | None:
    """A place of the log. Raises RefusedError for what is none."""
    given = one(request, name)
    if not given:
        return None
    place = _places.parse(given)
    if place is None:
        raise bad_request(f"{name} is the number of an event, as 12 or 12.3.")
    return place


def span_of(request: Request, origin: int) -> tuple[int | None, int | None]:
    """The times to draw, given in milliseconds since the instance began. Raises RefusedError for what is none."""
    begins, ends = (_offset(one(request, name), name) for name in ("from", "to"))
    if begins is not None and ends is not None and ends <= begins:
        raise bad_request("The time to draw ends before it begins.")
    return None if begins is None else origin + begins, None if ends is None else origin + ends


def _offset(given: str, name: str) -> int | None:
    if not given:
        return None
    if not _OFFSET.fullmatch(given):
        raise bad_request(f"{name} is a number of milliseconds since the instance began.")
    return round(float(given) * 1000)
