"""Actions on one limit, each asked for on a page of its own, and places that are given back by hand."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final, NamedTuple

from starlette.responses import RedirectResponse

from romancy.dashboard._acting import audit, field_of, permit
from romancy.dashboard._pages import render
from romancy.dashboard._refused import RefusedError, bad_request, not_found
from romancy.dashboard._visit import visit_of
from romancy.dashboard.limits._shown import shown_limit
from romancy.errors import InstanceNotFoundError, RomancyError, StorageError
from romancy.managing.lanes import routed
from romancy.storage.routing import InterestKind, is_lane, key_of_lane, lane_of, limit_of_lane

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from romancy.dashboard._guard import Form
    from romancy.dashboard._reader import Actor, Reader
    from romancy.dashboard.limits._shown import ShownLimit

__all__ = ["Action", "actions_for", "free_page", "limit_act_page"]

_PERMISSION: Final = "limits"
_FIELDS: Final = ("concurrency", "number", "seconds")


class Action(NamedTuple):
    """An action on a limit."""

    verb: str
    words: str
    """What it does, for the user who is about to confirm it."""
    act: Callable[[Actor, str, Form], Awaitable[None]]
    fits: Callable[[ShownLimit], bool]
    """Whether the present state of the limit allows it."""
    unfit: str
    """What is said where it does not."""


async def _change(instances: Actor, name: str, form: Form) -> None:
    number, period = _whole(form, "number"), _seconds(form)
    if (number is None) != (period is None):
        raise bad_request("A rate is a number and the seconds in which so many may begin: give both, or neither.")
    rate = None if number is None or period is None else (number, period)
    await instances.change_limit(name, concurrency=_whole(form, "concurrency"), rate=rate)


async def _pause(instances: Actor, name: str, _form: Form) -> None:
    await instances.pause_limit(name)


async def _resume(instances: Actor, name: str, _form: Form) -> None:
    await instances.resume_limit(name)


async def _reset(instances: Actor, name: str, _form: Form) -> None:
    await instances.reset_limit(name)


def _always(_: ShownLimit) -> bool:
    return True


def _is_active(found: ShownLimit) -> bool:
    return not found.is_paused


def _is_paused(found: ShownLimit) -> bool:
    return found.is_paused


def _is_chosen(found: ShownLimit) -> bool:
    return found.is_chosen


_ACTIONS: Final = {
    action.verb: action
    for action in (
        Action(
            "change", "Lets other numbers hold for every key, in the place of what the code declares, until it is "
            "reset. Who is inside already stays inside. Deploys do not change it.", _change, _always, "",
        ),
        Action(
            "pause", "Gives no more places until it is resumed. Who is inside goes on.",
            _pause, _is_active, "The limit is paused already.",
        ),
        Action("resume", "Gives places again.", _resume, _is_paused, "The limit is not paused."),
        Action(
            "reset", "Lets what the code declares hold again, and ends a pause.",
            _reset, _is_chosen, "What the code declares holds already.",
        ),
    )
}  # fmt: skip


def actions_for(found: ShownLimit) -> list[Action]:
    """The actions that the limit's present state allows."""
    return [action for action in _ACTIONS.values() if action.fits(found)]


async def limit_act_page(request: Request, reader: Reader, verb: str, name: str) -> Response:
    """Ask for a confirmation, or carry out a confirmed action."""
    action = _ACTIONS.get(verb)
    if action is None:
        raise not_found("There is no such action.")
    permit(request, _PERMISSION, name)
    form: Form | None = request.state.form if request.method == "POST" else None
    found = await shown_limit(reader.store, name)
    if form is None or not action.fits(found):
        return _ask(request, action, found, {}, None)
    fault = await _done(request, f"{verb} limit", name, action.act(reader.instances, name, form))
    if fault is not None:
        return _ask(request, action, found, form, fault)
    return _back(visit_of(request).limit_url(name), f"limit-{verb}")


def _ask(request: Request, action: Action, found: ShownLimit, form: Form, fault: str | None) -> Response:
    fits = action.fits(found)
    if not fits and fault is None:
        fault = action.unfit
    given = {each: field_of(form, each) if len(form.get(each, [])) == 1 else "" for each in _FIELDS}
    status = HTTPStatus.OK if fault is None else HTTPStatus.CONFLICT
    return render(
        request, "limits/act.html", status=status, action=action, shown=found, given=given, fault=fault, fits=fits
    )


async def free_page(request: Request, reader: Reader, instance_id: str) -> Response:
    """Ask whether the places of an instance are given back, or do it."""
    permit(request, _PERMISSION, instance_id)
    if await reader.store.read(instance_id, limit=0) is None:
        raise InstanceNotFoundError("There is no instance with this id.")
    has = [
        lane
        for _, one in await routed(reader.store).services.lookups.places_of([instance_id])
        if one.kind is InterestKind.MEMBER and (lane := lane_of(one.address)) is not None
    ]
    fault = None if has else "It has no place."
    if has and request.method == "POST":
        fault = await _done(request, "free places", instance_id, reader.instances.free_places(instance_id))
        if fault is None:
            return _back(visit_of(request).instance_url(instance_id), "free")
    status = HTTPStatus.OK if fault is None else HTTPStatus.CONFLICT
    places = [(one, limit_of_lane(one), key_of_lane(one)) for one in sorted(set(has)) if is_lane(one)]
    return render(request, "limits/free.html", status=status, instance_id=instance_id, places=places, fault=fault)


async def _done(request: Request, what: str, about: str, act: Awaitable[object]) -> str | None:
    """Carry out an action, with its line in the audit log. Returns why it was refused."""
    try:
        await act
    except StorageError:
        audit(request, what, about, "failed: the database did not answer")
        raise
    except (RefusedError, RomancyError) as error:
        audit(request, what, about, f"refused ({type(error).__name__})")
        return str(error)
    audit(request, what, about, "done")
    return None


def _back(target: str, done: str) -> Response:
    return RedirectResponse(f"{target}{'&' if '?' in target else '?'}done={done}", HTTPStatus.SEE_OTHER)


def _whole(form: Form, name: str) -> int | None:
    """A whole number of the form. None: the field is empty."""
    text = field_of(form, name).strip()
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 9:  # noqa: PLR2004 - a thousand millions
        raise bad_request(f"{text[:20]!r} is no whole number.")
    return int(text)


def _seconds(form: Form) -> float | None:
    text = field_of(form, "seconds").strip()
    try:
        return float(text) if text else None
    except ValueError:
        raise bad_request(f"{text[:20]!r} is no number of seconds.") from None
