"""Actions on one instance: what each does, for which statuses, with which fields, and its line in the audit log."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import msgspec
from starlette.responses import RedirectResponse

from romancy._job_name import NAME
from romancy._outgoing import signal_message
from romancy.dashboard._event_types import plain_form, signalling, typed_events
from romancy.dashboard._pages import render
from romancy.dashboard._refused import RefusedError, bad_request, forbidden, not_found
from romancy.dashboard._visit import visit_of
from romancy.engine import PAUSABLE
from romancy.errors import CodecError, InstanceNotFoundError, RomancyError, StorageError
from romancy.instance import Instance
from romancy.managing.waits import instance_with_waits, untaken_by
from romancy.status import TERMINAL_STATUSES, Status
from romancy.storage.limits import check_text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from starlette.requests import Request
    from starlette.responses import Response

    from romancy.dashboard._event_types import Typed
    from romancy.dashboard._guard import Form
    from romancy.dashboard._reader import Actor, Reader
    from romancy.instance import Untaken, Wait

__all__ = ["ACTIONS", "Action", "act_page", "actions_for", "audit", "field_of", "permit"]

_audit: Final = logging.getLogger("romancy.dashboard.audit")
_OPEN: Final = frozenset(status for status in Status if status not in TERMINAL_STATUSES)
_OURS: Final = "romancy."
"""How the names of events begin that move schedules and jobs."""
_MOVE_JOBS: Final = frozenset({"signal", "resume", "retry", "pause", "unpause"})
"""Actions by which a job goes on with its own action, which may be another one than the visitor's."""


class Action(NamedTuple):
    """An action on an instance."""

    verb: str
    words: str
    """What the action does, for the user who is about to confirm it."""
    statuses: frozenset[Status]
    act: Callable[[Actor, str, Form], Awaitable[object]]
    """Carries out the action. False: the instance had ended already."""
    fields: tuple[str, ...] = ()
    grave: bool = False
    """Whether the action cannot be undone."""
    settled: bool = False
    """Whether an action on many skips instances that have changed since they were counted."""
    check: Callable[[Form], object] = dict
    """Checks the form before any instance is read. Raises RefusedError or RomancyError."""
    by_itself: frozenset[Status] | None = None
    """The statuses that an action on many finds if its search names none; None: all of them."""


class _Sent(NamedTuple):
    """The fields of a signal's form."""

    event: str
    data: Any
    key: str | None
    id: str | None


def _signal_of(form: Form) -> _Sent:
    event = field_of(form, "event")
    if not event:
        raise bad_request("Name the event.")
    return _Sent(event, _data(field_of(form, "data")), field_of(form, "key") or None, field_of(form, "id") or None)


def _check_signal(form: Form) -> None:
    signal_message("any", *_signal_of(form))


async def _signal(instances: Actor, instance_id: str, form: Form) -> None:
    sent = _signal_of(form)
    await instances.signal(instance_id, sent.event, sent.data, key=sent.key, id=sent.id)


async def _cancel(instances: Actor, instance_id: str, form: Form) -> bool:
    return await instances.cancel(instance_id, reason=field_of(form, "reason"))


async def _terminate(instances: Actor, instance_id: str, form: Form) -> bool:
    return await instances.terminate(instance_id, reason=field_of(form, "reason"))


def _check_reason(form: Form) -> None:
    check_text(field_of(form, "reason"), "reason")


def _check_retry(form: Form) -> None:
    _unsure(field_of(form, "unsure"))


async def _retry(instances: Actor, instance_id: str, form: Form) -> None:
    await instances.retry(instance_id, unsure=_unsure(field_of(form, "unsure")))


async def _resume(instances: Actor, instance_id: str, _form: Form) -> None:
    await instances.resume(instance_id)


async def _pause(instances: Actor, instance_id: str, form: Form) -> None:
    await instances.pause(
        instance_id, reason=field_of(form, "reason"), freeze_time=field_of(form, "freeze_time") == "yes"
    )


async def _unpause(instances: Actor, instance_id: str, _form: Form) -> None:
    await instances.unpause(instance_id)


async def _purge(instances: Actor, instance_id: str, _form: Form) -> None:
    if not await instances.purge(instance_id):
        raise RefusedError(HTTPStatus.CONFLICT, "It has not ended, or another call holds it: nothing was removed.")


ACTIONS: Final = {
    action.verb: action
    for action in (
        Action(
            "signal", "Sends an event to the instance. It is kept until the workflow waits for it.",
            _OPEN, _signal, ("event", "data", "key", "id"), check=_check_signal,
        ),
        Action(
            "cancel", "Asks the workflow to stop and to undo what it did.",
            _OPEN, _cancel, ("reason",), check=_check_reason,
        ),
        Action("resume", "Lets the stuck workflow be tried again.", frozenset({Status.STUCK}), _resume, settled=True),
        Action(
            "retry", "Runs the workflow again. Completed work that was not undone is kept; failed work is tried again.",
            frozenset({Status.FAILED, Status.CANCELLED}), _retry, ("unsure",), settled=True, check=_check_retry,
            by_itself=frozenset({Status.FAILED}),
        ),
        Action(
            "pause", "Lets nothing new of it begin until it is unpaused. What is at work ends and is recorded.",
            PAUSABLE, _pause, ("reason", "freeze_time"), check=_check_reason,
        ),
        Action("unpause", "Lets it go on, with what has come meanwhile.", frozenset({Status.PAUSED}), _unpause),
        Action(
            "terminate", "Ends the workflow at once. Nothing is undone: what it did stays as it is.",
            _OPEN, _terminate, ("reason",), grave=True, check=_check_reason,
        ),
        Action(
            "purge", "Removes the instance with its log, its result and its messages, for good.",
            TERMINAL_STATUSES, _purge, grave=True, settled=True,
        ),
    )
}  # fmt: skip


def actions_for(instance: Instance, untaken: Iterable[Untaken]) -> list[Action]:
    """The actions that the instance's present state allows, without a request that lies in its inbox already."""
    asked = {one.kind for one in untaken} - {"signal"}  # another event is another request
    return [action for action in ACTIONS.values() if instance.status in action.statuses and action.verb not in asked]


async def act_page(request: Request, reader: Reader, verb: str, instance_id: str) -> Response:
    """Ask for a confirmation, or carry out a confirmed action."""
    action = ACTIONS.get(verb)
    if action is None:
        raise not_found("There is no such action.")
    permit(request, verb, instance_id)
    form: Form | None = request.state.form if request.method == "POST" else None
    shown = await _shown(reader, instance_id, verb)
    if verb in _MOVE_JOBS and shown.instance.workflow_name == NAME and not visit_of(request).may_all:
        audit(request, verb, instance_id, "refused (not allowed)")
        raise forbidden("Only a visitor who may do everything may let a job of the dashboard go on.")
    if form is None or shown.asked is not None:
        return _ask(request, action, shown, {}, None)
    try:
        done = await action.act(reader.instances, instance_id, plain_form(form, shown.events))
    except StorageError:
        audit(request, verb, instance_id, "failed: the database did not answer")
        raise
    except (RefusedError, RomancyError) as error:
        audit(request, verb, instance_id, f"refused ({type(error).__name__})")
        return _ask(request, action, shown, form, str(error))
    if done is False:
        audit(request, verb, instance_id, "refused (it had ended)")
        return _ask(request, action, shown, form, "It had ended already.")
    audit(request, verb, instance_id, "done")
    visit = visit_of(request)
    target = visit.url("/instances") if verb == "purge" else visit.instance_url(instance_id)
    return RedirectResponse(f"{target}{'&' if '?' in target else '?'}done={verb}", HTTPStatus.SEE_OTHER)


def permit(request: Request, verb: str, what: str) -> None:
    """Raise RefusedError unless the visitor may do this."""
    if not visit_of(request).may(verb):
        audit(request, verb, what, "refused (not allowed)")
        raise forbidden(f"You may not {verb}: the auth= of this dashboard does not allow you this action.")
    events: list[str] = request.state.form.get("event", []) if verb == "signal" and request.method == "POST" else []
    if not visit_of(request).may_all and any(event.startswith(_OURS) for event in events):
        audit(request, verb, what, "refused (not allowed)")
        raise forbidden(f"Only a visitor who may do everything sends events whose type begins with {_OURS}")


def audit(request: Request, verb: str, what: str, outcome: str) -> None:
    """Log an action: who, what, on which instance. Never a payload."""
    _audit.info("%.200r: %s %.300r: %s", visit_of(request).who, verb, what, outcome)


def field_of(form: Form, name: str) -> str:
    """The only value of a field; empty if there is none."""
    given = form.get(name, [])
    if len(given) > 1:
        raise bad_request(f"The field {name} is given twice.")
    return given[0] if given else ""


async def _shown(reader: Reader, instance_id: str, verb: str) -> _Shown:
    """The instance, with the events that it waits for if its log can be read, and whether this was requested before."""
    found = await reader.store.read(instance_id, limit=0)
    if found is None:
        raise InstanceNotFoundError("There is no instance with this id.")
    instance = Instance.of(found.instance)
    try:
        known = await instance_with_waits(reader.store, instance_id)
    except CodecError:
        known = None
    waits = () if known is None else known.waits or ()
    untaken = await untaken_by(reader.store, instance_id, instance.status)
    return _Shown(
        instance,
        tuple(wait for wait in waits if wait.kind == "event"),
        _events_of(reader, instance) if verb == "signal" else {},
        next((one for one in untaken if one.kind == verb != "signal"), None),
    )


class _Shown(NamedTuple):
    """The parts of an instance that the confirmation page shows."""

    instance: Instance
    waits: tuple[Wait, ...]
    events: dict[str, Typed]
    asked: Untaken | None
    """The same request, if it lies in the inbox already."""


def _events_of(reader: Reader, instance: Instance) -> dict[str, Typed]:
    known = None if reader.app is None else reader.app.workflows.get(instance.workflow_name)
    return {} if known is None else typed_events([known])


def _ask(request: Request, action: Action, shown: _Shown, form: Form, fault: str | None) -> Response:
    instance, waits = shown.instance, shown.waits
    given = {name: field_of(form, name) if len(form.get(name, [])) == 1 else "" for name in action.fields}
    form_of_signal = signalling(request, shown.events, [wait.name for wait in waits], form)
    if waits and not form and action.verb == "signal":
        typed = form_of_signal.typed
        meant = next((wait for wait in waits if typed is not None and wait.name == typed.event.name), waits[0])
        given |= {"event": meant.name, "key": meant.key or ""}
    fits = instance.status in action.statuses and shown.asked is None
    if shown.asked is not None and fault is None:
        fault = (
            f"This was requested at {shown.asked.at:%Y-%m-%d %H:%M:%S} UTC, and no worker has taken the request yet."
        )
    if not fits and fault is None:
        fault = f"The instance is {instance.status}: {action.verb} is not for it."
    status = HTTPStatus.OK if fault is None else HTTPStatus.CONFLICT
    return render(
        request, "act.html", status=status, action=action, instance=instance, waits=waits, given=given, fault=fault,
        fits=fits, signalling=form_of_signal,
    )  # fmt: skip


def _data(text: str) -> Any:
    if not text.strip():
        return None
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError) as error:
        raise bad_request(f'The data is no JSON ({error}). A text needs its quotes: "text".') from None


def _unsure(text: str) -> Literal["done", "undone"] | None:
    match text:
        case "done" | "undone":
            return text
        case "":
            return None
        case _:
            raise bad_request("The field unsure is done, undone or empty.")
