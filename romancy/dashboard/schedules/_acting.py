"""Actions on one schedule, each asked for on a page of its own."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final, NamedTuple

from starlette.responses import RedirectResponse

from romancy._schedule_options import check_overlap
from romancy.dashboard._acting import audit, field_of, permit
from romancy.dashboard._pages import render
from romancy.dashboard._refused import RefusedError, not_found
from romancy.dashboard._times import moment_given
from romancy.dashboard._visit import visit_of
from romancy.dashboard.schedules._shown import shown
from romancy.errors import RomancyError, StorageError
from romancy.schedules.handle import ScheduleHandle

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from romancy.dashboard._guard import Form
    from romancy.dashboard._reader import Reader
    from romancy.dashboard.schedules._shown import Shown

__all__ = ["Action", "actions_for", "schedule_act_page"]

_PERMISSION: Final = "schedules"
_GIVEN: Final = ("note", "overlap", "from", "to")
"""The fields of the forms, which keep their values if an action is refused."""


class Action(NamedTuple):
    """An action on a schedule."""

    verb: str
    words: str
    """What it does, for the user who is about to confirm it."""
    act: Callable[[ScheduleHandle, Form], Awaitable[None]]
    fits: Callable[[Shown], bool]
    """Whether the present state of the schedule allows it."""
    grave: bool = False
    """Whether it cannot be undone."""


async def _pause(handle: ScheduleHandle, form: Form) -> None:
    await handle.pause(field_of(form, "note"))


async def _resume(handle: ScheduleHandle, _form: Form) -> None:
    await handle.resume()


async def _trigger(handle: ScheduleHandle, form: Form) -> None:
    overlap = field_of(form, "overlap")
    await handle.trigger(overlap=check_overlap(overlap, "trigger") if overlap else None)


async def _backfill(handle: ScheduleHandle, form: Form) -> None:
    first, last = (moment_given(field_of(form, name), name) for name in ("from", "to"))
    if first is None or last is None:
        raise RefusedError(HTTPStatus.CONFLICT, "Say from when to when: both times are needed.")
    await handle.backfill(first, last)


async def _delete(handle: ScheduleHandle, _form: Form) -> None:
    await handle.order_delete()


def _always(_: Shown) -> bool:
    return True


def _is_active(found: Shown) -> bool:
    return not found.is_paused


def _is_paused(found: Shown) -> bool:
    return found.state is None or found.is_paused


_ACTIONS: Final = {
    action.verb: action
    for action in (
        Action(
            "pause", "Starts nothing until it is resumed. What is due meanwhile is not started later. Open runs go on.",
            _pause, _is_active,
        ),
        Action(
            "resume", "Goes on with what is due from now on.", _resume, _is_paused
        ),
        Action("trigger", "Starts one run now, also while the schedule is paused.", _trigger, _always),
        Action(
            "backfill",
            "Starts a run for each tick between two times, both included. A tick that has its run gets no other.",
            _backfill, _always,
        ),
        Action("delete", "Ends the schedule. Its runs go on, and their rows stay.", _delete, _always, grave=True),
    )
}  # fmt: skip


def actions_for(found: Shown) -> list[Action]:
    """The actions that the schedule's present state allows."""
    return [action for action in _ACTIONS.values() if action.fits(found)]


async def schedule_act_page(request: Request, reader: Reader, verb: str, schedule_id: str) -> Response:
    """Ask for a confirmation, or carry out a confirmed action."""
    action = _ACTIONS.get(verb)
    if action is None:
        raise not_found("There is no such action.")
    permit(request, _PERMISSION, schedule_id)
    form: Form | None = request.state.form if request.method == "POST" else None
    found = await shown(reader.store, schedule_id)
    if found is None:
        raise not_found("There is no schedule with this id, or it was deleted.")
    if form is None or not action.fits(found):
        return _ask(request, action, found, {}, None)
    what = f"{verb} schedule"
    try:
        await action.act(ScheduleHandle(reader.instances, reader.instances, schedule_id), form)
    except StorageError:
        audit(request, what, schedule_id, "failed: the database did not answer")
        raise
    except (RefusedError, RomancyError) as error:
        audit(request, what, schedule_id, f"refused ({type(error).__name__})")
        return _ask(request, action, found, form, str(error))
    audit(request, what, schedule_id, "done")
    visit = visit_of(request)
    target = visit.url("/schedules") if action.grave else visit.schedule_url(schedule_id)
    return RedirectResponse(f"{target}{'&' if '?' in target else '?'}done=schedule-{verb}", HTTPStatus.SEE_OTHER)


def _ask(request: Request, action: Action, found: Shown, form: Form, fault: str | None) -> Response:
    fits = action.fits(found)
    if not fits and fault is None:
        fault = f"The schedule is {'paused already' if found.is_paused else 'not paused'}."
    given = {name: field_of(form, name) if len(form.get(name, [])) == 1 else "" for name in _GIVEN}
    status = HTTPStatus.OK if fault is None else HTTPStatus.CONFLICT
    return render(
        request, "schedules/act.html", status=status, action=action, shown=found, given=given, fault=fault, fits=fits
    )
