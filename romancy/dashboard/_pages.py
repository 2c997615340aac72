"""Renders pages from templates, with the values that all pages need and filters for texts, times and ids."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse

from romancy._microseconds import moment_of
from romancy.dashboard._guard import COOKIE
from romancy.dashboard._static import version_of
from romancy.dashboard._visit import visit_of
from romancy.insight import ago, many, moment, span
from romancy.status import Status

if TYPE_CHECKING:
    from datetime import datetime

    from starlette.requests import Request

__all__ = ["clean", "render"]

_DONE: Final = {
    "signal": "The event was sent.",
    "cancel": "The instance was asked to stop.",
    "terminate": "The instance was ended.",
    "retry": "The instance runs again; completed work that was not undone is kept.",
    "resume": "The instance is tried again.",
    "pause": "The instance is paused as soon as its activities at work have ended.",
    "unpause": "The instance goes on.",
    "purge": "The instance was removed.",
    "fork": "This is the fork, which goes on by itself.",
    "rewind": "The instance was taken back, and goes on from there unless it is paused.",
    "pause-activity": "No attempt at the activity begins until it is unpaused.",
    "unpause-activity": "Attempts at the activity begin again.",
    "pause-workflow": "Starts of the workflow wait until it is unpaused.",
    "drain-worker": "The worker was asked to drain; the overview shows how far it is.",
    "unpause-workflow": "Starts of the workflow begin again; a worker lets those that wait go on.",
    "schedule-pause": "A worker pauses the schedule.",
    "schedule-resume": "A worker lets the schedule go on.",
    "schedule-trigger": "A worker starts a run.",
    "schedule-backfill": "A worker starts the runs, a hundred at a time.",
    "schedule-delete": "A worker ends the schedule.",
    "limit-change": "These numbers hold from now on.",
    "failures-silence": "The group is silenced.",
    "failures-unsilence": "The group is listed again.",
    "limit-pause": "No more places are given.",
    "limit-resume": "Places are given again.",
    "limit-reset": "What the code declares holds again.",
    "question-answer": "The answer was taken.",
    "question-refuse": "The question was refused.",
    "free": "Its places were given back.",
}
"""The messages after an action, by their names in the URL."""
_KEPT: Final = frozenset("\n\t ")


def render(request: Request, template: str, /, status: int = 200, **values: Any) -> HTMLResponse:
    """A page, or a part of one, for an admitted request.

    Templates get `visit`, `static(name)`, `statuses` and the values; everything that they write is escaped.
    """
    visit = visit_of(request)

    def static(name: str) -> str:
        return visit.url(f"/static/{name}?v={version_of(name)}")

    text = (
        environment()
        .get_template(template)
        .render(visit=visit, static=static, done=_DONE.get(request.query_params.get("done", "")), **values)
    )
    response = HTMLResponse(text.encode("utf-8", "replace"), status_code=status)
    if visit.cookie is not None:
        secure = request.url.scheme == "https"
        response.set_cookie(COOKIE, visit.cookie, path=visit.url(), httponly=True, samesite="strict", secure=secure)
    return response


@cache
def environment() -> Environment:
    """The templates, read once each."""
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    filters: dict[str, Any] = {
        "clean": clean,
        "span": span,
        "moment": moment,
        "moment_of": moment_of,
        "ago": ago,
        "many": many,
        "when": when,
        "digest": digest,
        "age": age,
    }
    made.filters.update(filters)
    common: dict[str, Any] = {"statuses": [str(status) for status in Status], "version": version("romancy")}
    made.globals.update(common)
    return made


def clean(text: str) -> str:
    """The text with invisible characters written out: controls, and those that change the direction of text."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(one if one.isprintable() or one in _KEPT else _written_out(one) for one in text)


def _written_out(character: str) -> str:
    return character.encode("unicode_escape", "backslashreplace").decode()


def age(microseconds: int) -> str:
    """A length of time in its largest unit: `2 h`."""
    return " ".join(span(microseconds).split()[:2])


def digest(text: str) -> str:
    """A short, stable name for an id that is valid in an HTML attribute."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def when(at: datetime) -> str:
    """A time in UTC, to the second."""
    return at.strftime("%Y-%m-%d %H:%M:%S")
