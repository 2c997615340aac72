"""Failures by their causes: the list, and the page that asks before a group is silenced."""

from __future__ import annotations

import hashlib
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, NamedTuple

from starlette.responses import RedirectResponse

from romancy.dashboard._acting import audit, field_of, permit
from romancy.dashboard._gone import unless_gone
from romancy.dashboard._pages import render
from romancy.dashboard._refused import RefusedError, not_found
from romancy.dashboard._visit import visit_of
from romancy.errors import RomancyError, StorageError
from romancy.managing.failures import LOOKED_AT, failures_of, group_in

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from romancy.dashboard._guard import Form
    from romancy.dashboard._live import Question
    from romancy.dashboard._reader import Reader
    from romancy.failure import FailureGroup, FailureGroups

__all__ = ["act_on_failures_page", "failures_page", "failures_question", "version_of"]

_PERMISSION: Final = "failures"
_EACH: Final = 100


class _Action(NamedTuple):
    """What is done to a group."""

    verb: str
    words: str


_ACTIONS: Final = {
    "silence": _Action(
        "silence",
        "Leaves the group out of the list and of the overview, also what fails later. Its instances stay failed.",
    ),
    "unsilence": _Action("unsilence", "Lists the group again."),
}


async def failures_page(request: Request, reader: Reader) -> Response:
    """The groups that were seen last; for htmx, the list alone."""
    everything = _wants_all(request)
    found = await unless_gone(request, failures_of(reader.lists.store, silenced=everything, limit=_EACH))
    template = "failures/_list.html" if "hx-request" in request.headers else "failures/list.html"
    return render(
        request, template, found=found, everything=everything, version_of_list=version_of(found), most=LOOKED_AT
    )


def failures_question(request: Request, reader: Reader) -> tuple[str, Question]:
    """The question that an open list repeats, and its key."""
    everything = _wants_all(request)

    async def question() -> str:
        return version_of(await failures_of(reader.lists.store, silenced=everything, limit=_EACH))

    return f"failures?{everything}", question


async def act_on_failures_page(request: Request, reader: Reader, verb: str) -> Response:
    """Ask for a confirmation, or carry out a confirmed action."""
    action = _ACTIONS.get(verb)
    name = request.query_params.get("group", "")
    if action is None:
        raise not_found("There is no such action.")
    permit(request, _PERMISSION, name[:40])
    group = await group_in(reader.store, name)
    if group is None:
        raise not_found("There is no such group of failures. Its instances may have been retried or removed.")
    if request.method != "POST":
        return _ask(request, action, group, "", None)
    form: Form = request.state.form
    reason = field_of(form, "reason") if verb == "silence" else ""
    try:
        await _do(reader, verb, name, reason)
    except StorageError:
        audit(request, f"{verb} failures", name, "failed: the database did not answer")
        raise
    except (RefusedError, RomancyError) as error:
        audit(request, f"{verb} failures", name, f"refused ({type(error).__name__})")
        return _ask(request, action, group, reason, str(error))
    audit(request, f"{verb} failures", name, "done")
    return RedirectResponse(f"{visit_of(request).url('/failures')}?done=failures-{verb}", HTTPStatus.SEE_OTHER)


async def _do(reader: Reader, verb: str, name: str, reason: str) -> None:
    if verb == "silence":
        await reader.instances.silence_failures(name, reason)
    else:
        await reader.instances.unsilence_failures(name)


def _ask(request: Request, action: _Action, group: FailureGroup, reason: str, fault: str | None) -> Response:
    status = HTTPStatus.OK if fault is None else HTTPStatus.CONFLICT
    return render(request, "failures/act.html", status=status, action=action, group=group, reason=reason, fault=fault)


def _wants_all(request: Request) -> bool:
    return request.query_params.get("all") == "1"


def version_of(found: FailureGroups) -> str:
    """A text that changes with what a list shows."""
    return hashlib.sha256(repr(found).encode("utf-8", "surrogatepass")).hexdigest()[:16]
