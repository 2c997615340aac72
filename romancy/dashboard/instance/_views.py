"""The views of an instance: each reads its data and returns the values of its template."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from romancy.dashboard._answers import inputs_for
from romancy.dashboard._refused import bad_request, not_found
from romancy.dashboard._visit import visit_of
from romancy.dashboard.instance import _asked, _places
from romancy.dashboard.instance._back import links_back
from romancy.dashboard.instance._compare import compare, lines_of
from romancy.dashboard.instance._conversation import conversation_of
from romancy.dashboard.instance._graph import graph_of
from romancy.dashboard.instance._payload import NARROW, UNSEEN, payload
from romancy.dashboard.instance._picture import ROW, TOP, picture
from romancy.dashboard.instance._rows import offset, row_of
from romancy.dashboard.instance._spoken import spoken_by
from romancy.dashboard.instance._standing import standing_of
from romancy.dashboard.instance._state import READS, read_state
from romancy.dashboard.instance._window import COMMITS, near_the_end, read_window
from romancy.dashboard.instance._zoom import milliseconds, zoom
from romancy.errors import InstanceNotFoundError, QueryError
from romancy.insight import Note, Step, Timeline
from romancy.kept_logs import LEVELS, level_of
from romancy.log import fields_of
from romancy.managing.kept_lines import newest_lines, page_of
from romancy.messages.questions import page_of_questions
from romancy.serialization import cause_first
from romancy.status import TERMINAL_STATUSES
from romancy.storage.services import Service

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from romancy.dashboard.instance._rows import Row
    from romancy.dashboard.instance._window import Window
    from romancy.insight import Place
    from romancy.storage.protocol import Store
    from romancy.storage.records import InstanceRow

__all__ = ["VIEWS"]

ROWS: Final = 100
"""How many rows a page of a timeline has."""
LATEST: Final = "latest"
"""In a URL, instead of a place: the end of the log at the time of the request."""
SLICE: Final = 300
"""How many commits are read for a page, before the ends of its last steps are looked for."""
EVENTS: Final = 100
"""How many events a page of the log has."""
LINES: Final = 200
"""How many log lines a page has."""
NODES: Final = 120
QUESTIONS: Final = 20
CHILDREN: Final = 50
SIDE: Final = 300
"""How many steps of each instance are compared."""
_PARENTS: Final = 8
_LOOK_AHEAD: Final = 3
"""How many statements look for the ends of the steps of a page."""


async def timeline(request: Request, store: Store, row: InstanceRow) -> dict[str, Any]:
    """The steps of a page, as a picture and as a table."""
    start = await _start(request, store, row)
    window, folded, beyond = await _steps(store, row, start)
    origin = window.zero
    begins, ends = _asked.span_of(request, origin)
    stands = await standing_of(store, window.row, window if start == (0, 0) else None, request.state.untaken)
    entries = [entry for entry in folded.entries if entry.place >= start]
    shown, rest = entries[:ROWS], entries[ROWS:]
    until = stands.now
    rows = [row_of(entry, origin, until, beyond=beyond) for entry in shown]
    drawn = picture(rows, origin, begins, ends)
    return {
        "stands": stands,
        "begun_in": (shown[0].place[0], shown[-1].place[0])
        if shown and (start != (0, 0) or rest or window.more)
        else None,
        "rows": rows,
        "back": links_back(visit_of(request), row, folded, shown),
        "drawn": drawn,
        "zooms": [] if drawn is None else zoom(drawn.begins, drawn.ends, origin),
        "zoomed": begins is not None or ends is not None,
        "asked": {"from": _asked.one(request, "from"), "to": _asked.one(request, "to")},
        "span": ("", "") if drawn is None else tuple(milliseconds(at, origin) for at in (drawn.begins, drawn.ends)),
        "start_here": "" if start == (0, 0) else _places.text(start),
        "next": _next(rest, window),
        "previous": _places.text((max(start[0] - ROWS, 0), 0)) if start > (1, 0) else None,
        "latest": LATEST if window.more else None,
        "row_height": ROW,
        "top": TOP,
    }


async def _steps(store: Store, row: InstanceRow, start: Place) -> tuple[Window, Timeline, bool]:
    """The steps from a place on, with so much of the log that most of the first ones have ended in it.

    Also returns whether there is more of the log than was read.
    """
    window = await _window(store, row, max(start[0] - 1, 0))
    folded = Timeline(detailed=True)
    for place, event, at in window.events():
        folded.take(event, place, at)
    begun = len(folded.entries)
    last, more = window.last, window.more
    for _ in range(_LOOK_AHEAD):
        page = [entry for entry in folded.entries[:begun] if entry.place >= start][:ROWS]
        if not more or not any(isinstance(entry, Step) and entry.is_open for entry in page):
            break
        ahead = await _window(store, row, last, COMMITS)
        last, more = ahead.last, ahead.more
        for place, event, at in ahead.events():
            folded.take(event, place, at)
    del folded.entries[begun:]
    return window, folded, more


def _next(rest: list[Step | Note], window: Window) -> str | None:
    """Where the next page begins."""
    if rest:
        return _places.text(rest[0].place)
    return _places.text((window.last + 1, 0)) if window.more else None


async def _start(request: Request, store: Store, row: InstanceRow) -> Place:
    """Where the page begins."""
    if _asked.one(request, "row") == LATEST:
        return max((await _last(store, row))[0] - ROWS // 2, 1), 0
    return _asked.place_of(request, "row") or (0, 0)


async def _last(store: Store, row: InstanceRow) -> Place:
    """The last commit."""
    window = await _window(store, row, await near_the_end(store, row) - 1, COMMITS)
    return window.last, _places.WHOLE


async def _window(store: Store, row: InstanceRow, after: int, limit: int = SLICE) -> Window:
    window = await read_window(store, row.instance_id, after, limit=limit)
    if window is None:
        raise InstanceNotFoundError("The instance was just removed.")
    return window


async def log(request: Request, store: Store, row: InstanceRow) -> dict[str, Any]:
    """The events as they were written."""
    start = await _start(request, store, row)
    window = await _window(store, row, max(start[0] - 1, 0))
    events = [each for each in window.events() if each[0] >= start]
    shown, rest = events[:EVENTS], events[EVENTS:]
    following = _places.text(rest[0][0]) if rest else (_places.text((window.last + 1, 0)) if window.more else None)
    return {
        "events": [
            {
                "place": _places.text(place),
                "kind": type(event).__name__,
                "at": at,
                "offset": offset(at, window.zero),
                "payload": payload(msgspec.json.encode(fields_of(event)), NARROW),
            }
            for place, event, at in shown
        ],
        "next": following,
        "previous": _places.text((max(start[0] - EVENTS, 0), 0)) if start > (1, 0) else None,
        "latest": LATEST if window.more else None,
    }


async def lines(request: Request, store: Store, row: InstanceRow) -> dict[str, Any]:
    """What the body and the activities have logged: the newest lines, or a page behind a cursor."""
    after, level = _asked.one(request, "after"), _asked.one(request, "level").upper()
    if Service.JOURNAL not in store.services.offered:
        return {"lines": [], "level": "", "levels": LEVELS, "first": False, "next": None}
    least = level_of(level) if level in LEVELS else 0
    if not after:
        found, following = await newest_lines(store, row.instance_id, limit=LINES), None
    else:
        try:
            page = await page_of(store, row.instance_id, after, limit=LINES)
        except QueryError as error:
            raise bad_request(f"There is no such place among the lines: {error}.") from None
        found, following = page.lines, page.next_cursor if len(page.lines) == LINES else None
    return {
        "lines": [one for one in found if one.level_number >= least],
        "level": level if level in LEVELS else "",
        "levels": LEVELS,
        "first": not after and len(found) == LINES,
        "next": following,
    }


async def streams(request: Request, store: Store, row: InstanceRow) -> dict[str, Any]:
    """What the body and the activities have written to a stream."""
    if Service.JOURNAL not in store.services.offered:
        return {"names": [], "name": "", "spoken": [], "is_sealed": False}
    found = await spoken_by(store, row.instance_id, _asked.one(request, "stream"))
    return {"names": found.names, "name": found.name, "spoken": found.parts, "is_sealed": found.is_sealed}


async def state(request: Request, store: Store, row: InstanceRow) -> dict[str, Any]:
    """The instance as it was."""
    latest = _asked.one(request, "at") == LATEST
    place = await _last(store, row) if latest else _asked.place_of(request, "at")
    if place is None:
        place = (1 if row.run_from == 1 else row.run_from, 0)
    found = await read_state(store, row, place)
    if found is None:
        raise not_found("The log has no such event. It may have been pruned with its run.")
    return {
        "state": found,
        "at_place": _places.text(found.place),
        "kind": type(found.event).__name__,
        "last": LATEST,
        "first": _places.text((row.run_from, 0)),
        "horizon": READS * COMMITS,
        "event": payload(msgspec.json.encode(fields_of(found.event))),
    }


async def graph(request: Request, store: Store, row: InstanceRow) -> dict[str, Any]:
    """The graph of executed steps."""
    start = await _start(request, store, row)
    window, folded, beyond = await _steps(store, row, start)
    steps = [step for step in folded.steps if step.place >= start]
    drawn = graph_of(steps[:NODES], window.zero, row.updated_at, beyond=beyond)
    return {"graph": drawn, "next": _next(list(steps[NODES:]), window), "start_here": _asked.one(request, "row")}


async def conversation(request: Request, store: Store, row: InstanceRow) -> dict[str, Any]:
    """What models and tools have said to each other, and what people are asked."""
    start = await _start(request, store, row)
    window, folded, beyond = await _steps(store, row, start)
    steps = [step for step in folded.steps if step.place >= start]
    shown, rest = steps[:ROWS], steps[ROWS:]
    return {
        "talk": conversation_of(shown, window.zero, row.updated_at, beyond=beyond),
        "questions": await _questions(request, store, row),
        "next": _next(list(rest), window),
        "previous": _places.text((max(start[0] - ROWS, 0), 0)) if start > (1, 0) else None,
        "latest": LATEST if window.more else None,
    }


async def _questions(request: Request, store: Store, row: InstanceRow) -> list[dict[str, Any]]:
    """The open questions of the instance, with the fields of their forms."""
    if row.status in TERMINAL_STATUSES or not visit_of(request).may("answer"):
        return []
    found = await page_of_questions(store, instance_id=row.instance_id, limit=QUESTIONS)
    return [
        {
            "token": one.token,
            "name": one.name,
            "question": one.question,
            "to": one.to,
            "since": one.since,
            "due": one.due,
            "sealed": one.sealed,
            "fields": [] if one.sealed else inputs_for(one.schema).fields,
        }
        for one in found.questions
    ]


async def family(request: Request, store: Store, row: InstanceRow) -> dict[str, Any]:
    """The parents and the children of the instance."""
    start = await _start(request, store, row)
    window, folded, beyond = await _steps(store, row, start)
    children = [step for step in folded.steps if step.kind == "child" and step.place >= start]
    rows = [row_of(step, window.zero, row.updated_at, beyond=beyond) for step in children[:CHILDREN]]
    return {
        "parents": await _parents(store, row),
        "children": rows,
        "next": _next(list(children[CHILDREN:]), window),
        "looked_at": (window.begins, window.last),
    }


async def _parents(store: Store, row: InstanceRow) -> list[dict[str, Any]]:
    """The parents, the first one of all first, as far up as a page goes."""
    found: list[dict[str, Any]] = []
    parent = row.parent
    while parent is not None and len(found) < _PARENTS:
        above = await store.read(parent, limit=0)
        known = None if above is None else above.instance
        found.append({"instance_id": parent, "row": known})
        parent = None if known is None else known.parent
    return found[::-1]


async def comparison(request: Request, store: Store, row: InstanceRow) -> dict[str, Any]:
    """The instance beside another one."""
    name = _asked.one(request, "with")
    if not name:
        return {"other": None, "name": ""}
    other = await store.read(name, limit=0)
    if other is None:
        return {"other": None, "name": name}
    rows = (row, other.instance)
    sides = [await _side(store, each) for each in rows]
    return {
        "other": other.instance,
        "name": name,
        "inputs": lines_of(row.input, other.instance.input),
        "sides": compare(*sides),
        "lasted": [offset(each.updated_at, each.created_at)[1:] for each in rows],
        "errors": [cause_first(each.error or "") for each in rows],
        "most": SIDE,
    }


async def _side(store: Store, row: InstanceRow) -> list[tuple[Step, Row]]:
    window, folded, beyond = await _steps(store, row, (row.run_from, 0))
    origin, until = window.zero, row.updated_at
    return [(step, row_of(step, origin, until, beyond=beyond, bounds=UNSEEN)) for step in folded.steps[:SIDE]]


async def raw(request: Request, store: Store, row: InstanceRow) -> tuple[str, bytes]:
    """A payload as it is stored, with a name for it."""
    place, field = _asked.place_of(request, "at"), _asked.one(request, "field")
    if place is None:
        return "input", bytes(row.input)
    window = await read_window(store, row.instance_id, place[0] - 1, limit=1) if place[0] else None
    events = [
        event for commit in (window.commits if window else ()) for event in commit.events if commit.seq == place[0]
    ]
    if not 0 <= place[1] < len(events):
        raise not_found("The log has no such event.")
    event = events[place[1]]
    if not field:
        return type(event).__name__, msgspec.json.encode(fields_of(event))
    value = getattr(event, field, None)
    if not isinstance(value, msgspec.Raw):
        raise not_found("The event has no such payload.")
    return field, bytes(value)


VIEWS: Final[dict[str, Callable[[Request, Store, InstanceRow], Awaitable[dict[str, Any]]]]] = {
    "timeline": timeline,
    "conversation": conversation,
    "graph": graph,
    "family": family,
    "state": state,
    "log": log,
    "lines": lines,
    "streams": streams,
    "compare": comparison,
}
