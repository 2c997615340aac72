"""Pauses of activities and of the starts of workflows by their names, and drains of workers: each asks on a page."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final, NamedTuple

from starlette.responses import RedirectResponse

from romancy.dashboard._acting import audit, field_of, permit
from romancy.dashboard._pages import render
from romancy.dashboard._refused import bad_request, not_found
from romancy.dashboard._visit import visit_of
from romancy.engine import names_in
from romancy.errors import RomancyError, StorageError
from romancy.storage.notices import notices_in

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from romancy.dashboard._guard import Form
    from romancy.dashboard._reader import Actor, Reader
    from romancy.storage.notices import Notice

__all__ = ["PAUSES", "pause_by_name_page"]


class _Way(NamedTuple):
    """How names of a kind are paused, or unpaused."""

    verb: str
    words: str
    question: str
    act: Callable[[Actor, str, str], Awaitable[None]]


async def _pause_activity(instances: Actor, name: str, reason: str) -> None:
    await instances.pause_activity(name, reason=reason)


async def _unpause_activity(instances: Actor, name: str, _: str) -> None:
    await instances.unpause_activity(name)


async def _pause_workflow(instances: Actor, name: str, reason: str) -> None:
    await instances.pause_workflow(name, reason=reason)


async def _unpause_workflow(instances: Actor, name: str, _: str) -> None:
    await instances.unpause_workflow(name)


async def _drain_worker(instances: Actor, name: str, _: str) -> None:
    await instances.drain_worker(name)


_WAYS: Final = {
    ("pause", "activity"): _Way(
        "pause", "Lets no attempt at this activity begin on any worker, until it is unpaused. Attempts at work go on.",
        "Pause an activity?", _pause_activity,
    ),
    ("unpause", "activity"): _Way(
        "unpause", "Lets attempts at this activity begin again.", "Unpause this activity?", _unpause_activity
    ),
    ("pause", "workflow"): _Way(
        "pause", "Lets no instance of this workflow begin on any worker, until it is unpaused. Starts are accepted and "
        "wait; what has begun goes on.", "Pause the starts of a workflow?", _pause_workflow,
    ),
    ("unpause", "workflow"): _Way(
        "unpause", "Lets instances of this workflow begin again, the oldest of those that wait first.",
        "Unpause the starts of this workflow?", _unpause_workflow,
    ),
    ("drain", "worker"): _Way(
        "drain", "Lets it take nothing more, end its attempts and release its instances to others, as SIGTERM does. "
        "A process that only works then ends; a supervisor may start another one.", "Drain this worker?", _drain_worker,
    ),
}  # fmt: skip
PAUSES: Final[Mapping[str, str]] = {"workflow": "Starts of workflow", "activity": "Activity"}
"""What can be paused by name, with words for it."""


async def pause_by_name_page(request: Request, reader: Reader, verb: str, kind: str) -> Response:
    """Ask for a confirmation, or carry out a confirmed pause."""
    way = _WAYS.get((verb, kind))
    if way is None:
        raise not_found("There is no such action.")
    form: Form | None = request.state.form if request.method == "POST" else None
    asked = request.query_params.get("name", "")
    name = asked if form is None or asked else field_of(form, "name")
    permit(request, "workers" if kind == "worker" else verb, name)
    if form is None:
        return await _ask(request, reader, way, kind, name, {}, None)
    if not name:
        raise bad_request(f"Name the {kind}.")
    what = f"{verb} {kind}"
    try:
        await way.act(reader.instances, name, field_of(form, "reason"))
    except StorageError:
        audit(request, what, name, "failed: the database did not answer")
        raise
    except RomancyError as error:
        audit(request, what, name, f"refused ({type(error).__name__})")
        return await _ask(request, reader, way, kind, name, form, str(error))
    audit(request, what, name, "done")
    return RedirectResponse(f"{visit_of(request).url()}?done={verb}-{kind}", HTTPStatus.SEE_OTHER)


async def _ask(  # noqa: PLR0917 - what the page shows
    request: Request, reader: Reader, way: _Way, kind: str, name: str, form: Form, fault: str | None
) -> Response:
    census = await reader.store.services.reading.census()
    paused = [one for one in notices_in(census.workers) if one.kind == kind]
    present: Notice | None = next((one for one in paused if one.name == name), None)
    names = {one for peer in census.workers for one in names_in(peer.codes) if not one.startswith("romancy.")}
    status = HTTPStatus.OK if fault is None else HTTPStatus.CONFLICT
    return render(
        request,
        "pause.html",
        status=status,
        action=way,
        kind=kind,
        name=name,
        present=present,
        names=sorted(names) if kind == "workflow" and way.verb == "pause" else [],
        reason=field_of(form, "reason") if form else "",
        fault=fault,
        now=census.now,
    )
