"""Asks for a confirmation of an action on all instances that a search finds, and begins the job."""

from __future__ import annotations

import hashlib
import secrets
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import RedirectResponse

from romancy._job_name import NAME
from romancy.dashboard._acting import ACTIONS, audit, field_of, permit
from romancy.dashboard._event_types import plain_form, signalling, typed_events
from romancy.dashboard._guard import COOKIE
from romancy.dashboard._pages import render
from romancy.dashboard._refused import RefusedError, bad_request, not_found
from romancy.dashboard._search import Search
from romancy.dashboard._visit import visit_of
from romancy.dashboard.bulk._job import BULK, MOST
from romancy.dashboard.bulk._matching import COUNTED, count, statuses_for
from romancy.dashboard.bulk._records import Job
from romancy.errors import InstanceConflictError, RomancyError, StorageError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from romancy.dashboard._acting import Action
    from romancy.dashboard._event_types import Typed
    from romancy.dashboard._guard import Form
    from romancy.dashboard._reader import Reader
    from romancy.dashboard.bulk._jobs import Jobs

__all__ = ["bulk_actions", "bulk_page"]

_LONGEST: Final = 100
_DIGITS: Final = 18


def bulk_actions(search: Search) -> list[Action]:
    """The actions on the instances that a search finds. None for a search for all instances."""
    if search.is_empty:
        return []
    asked = set(search.status)
    return [action for action in ACTIONS.values() if not asked or asked & action.statuses]


async def bulk_page(request: Request, reader: Reader, jobs: Jobs, verb: str) -> Response:
    """Ask for a confirmation, with the number of instances; a POST begins the job."""
    action = ACTIONS.get(verb)
    if action is None:
        raise not_found("There is no such action.")
    search = Search.of(request.query_params.multi_items())._replace(page="")
    permit(request, verb, search.without_values())
    if search.is_empty:
        raise bad_request("Choose the instances first: by id, workflow, status, time, input or headers.")
    form: Form | None = request.state.form if request.method == "POST" else None
    if form is None:
        return await _ask(request, reader, action, search, {}, None)
    try:
        job_id = await _begin(request, reader, jobs, action, search, form)
    except StorageError:
        audit(request, f"{verb} in bulk", search.without_values(), "failed: the database did not answer")
        raise
    except InstanceConflictError:
        audit(request, f"{verb} in bulk", search.without_values(), "refused (a form that was sent before)")
        return await _ask(request, reader, action, search, form, "This form has begun another job already.")
    except (RefusedError, RomancyError) as error:
        audit(request, f"{verb} in bulk", search.without_values(), f"refused ({type(error).__name__})")
        return await _ask(request, reader, action, search, form, str(error))
    audit(request, f"{verb} in bulk", search.without_values(), f"begun as {job_id}")
    return RedirectResponse(visit_of(request).job_url(job_id), HTTPStatus.SEE_OTHER)


async def _begin(request: Request, reader: Reader, jobs: Jobs, action: Action, search: Search, form: Form) -> str:
    """Start the job of this form, or find it started: a form that is sent twice begins one job."""
    once, asked = field_of(form, "once"), _number(field_of(form, "asked"))
    if not once or len(once) > _LONGEST or asked is None:
        raise bad_request("The form is not of this page: open it again.")
    statuses_for(action, search)
    form = plain_form(form, _events_of(reader, search))
    action.check(form)
    asked = min(asked, (await reader.store.services.reading.census()).now)
    job = Job(
        verb=action.verb,
        search=search.as_of(asked).encoded(),
        fields={name: form[name] for name in action.fields if name in form},
        who=visit_of(request).who,
        asked=asked,
        expected=_number(field_of(form, "expected")),
    )
    # Without the verb: the same form of another page does not begin a second job.
    job_id = f"bulk-{_digest(request.cookies.get(COOKIE, ''), once)}"
    app = await jobs.app()
    await app.start(BULK.options(instance_id=job_id), job)
    return job_id


async def _ask(
    request: Request, reader: Reader, action: Action, search: Search, form: Form, fault: str | None
) -> Response:
    statuses = statuses_for(action, search)
    now = (await reader.store.services.reading.census()).now
    events = _events_of(reader, search) if action.verb == "signal" else {}
    counted = await count(reader.store, action, search.as_of(now), now)
    values: dict[str, Any] = {
        "action": action,
        "search": search,
        "statuses_wanted": statuses,
        "counted": counted,
        "counted_most": COUNTED,
        "most": MOST,
        "now": now,
        "once": secrets.token_urlsafe(18),
        "given": {name: field_of(form, name) if len(form.get(name, [])) == 1 else "" for name in action.fields},
        "waits": (),
        "signalling": signalling(request, events, (), form) if action.verb == "signal" else None,
        "fault": fault,
        "job_name": NAME,
    }
    status = HTTPStatus.OK if fault is None else HTTPStatus.CONFLICT
    return render(request, "bulk/ask.html", status=status, **values)


def _events_of(reader: Reader, search: Search) -> dict[str, Typed]:
    """The event types that the workflows of the search may wait for."""
    if reader.app is None:
        return {}
    return typed_events(one for name, one in reader.app.workflows.items() if search.workflow in name)


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _DIGITS else None


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:20]
