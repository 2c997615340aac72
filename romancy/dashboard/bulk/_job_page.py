"""The page of a job, with its progress; the list of the newest jobs; and the second confirmation."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from starlette.responses import RedirectResponse

from romancy._job_name import NAME
from romancy.core import ProgressReported
from romancy.dashboard._acting import audit, field_of, permit
from romancy.dashboard._instance_page import version_of
from romancy.dashboard._pages import render
from romancy.dashboard._refused import RefusedError, forbidden, not_found
from romancy.dashboard._visit import visit_of
from romancy.dashboard.bulk._job import CONFIRMED, MOST, job_in
from romancy.dashboard.bulk._jobs import newest
from romancy.dashboard.bulk._left import REQUESTS, left_of
from romancy.dashboard.bulk._records import Job, Progress, search_of
from romancy.dashboard.instance._window import near_the_end, read_window
from romancy.errors import CodecError
from romancy.instance import Instance
from romancy.serialization import is_sealed
from romancy.status import TERMINAL_STATUSES

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from romancy.dashboard._reader import Reader
    from romancy.dashboard._search import Search
    from romancy.dashboard.bulk._jobs import Jobs
    from romancy.storage.protocol import Store
    from romancy.storage.records import InstanceRow

__all__ = ["confirm_page", "job_page", "jobs_page"]

_BACK = 50
"""How many commits before the end are read for the last report. Nearly each commit has one."""


class Shown(NamedTuple):
    """A job as pages show it."""

    instance: Instance
    job: Job | None
    """None if it is sealed."""
    search: Search | None
    progress: Progress | None
    ended: bool
    version: str
    """The state that the page shows, as the stream of changes tells it."""


async def jobs_page(request: Request, reader: Reader) -> Response:
    """The newest jobs."""
    jobs = [await _shown(reader.store, row) for row in await newest(reader.store)]
    return render(request, "bulk/jobs.html", jobs=jobs)


async def job_page(request: Request, reader: Reader, job_id: str) -> Response:
    """One job; for htmx, its changing part alone."""
    shown = await _shown(reader.store, await _row_of(reader.store, job_id))
    layout = "instance/part.html" if "hx-request" in request.headers else "base.html"
    verb = "" if shown.job is None else shown.job.verb
    asked = shown.progress is not None and shown.progress.done > 0
    left = await left_of(reader.store, shown.instance, verb) if asked else ""
    acted = REQUESTS.get(verb, "Done")
    return render(request, "bulk/job.html", layout=layout, shown=shown, most=MOST, left=left, acted=acted)


async def confirm_page(request: Request, reader: Reader, jobs: Jobs, job_id: str) -> Response:
    """Confirm the count of a job. The form has the number that the visitor saw."""
    target = visit_of(request).job_url(job_id)
    row = await _row_of(reader.store, job_id)
    if request.method != "POST":
        return RedirectResponse(target, HTTPStatus.SEE_OTHER)
    shown, number = await _shown(reader.store, row), field_of(request.state.form, "number")
    if shown.job is not None:
        permit(request, shown.job.verb, job_id)
    elif not visit_of(request).may_all:
        raise forbidden("The job is sealed: only a visitor who may do everything may confirm it.")
    progress = shown.progress
    if shown.ended or progress is None or progress.phase != "asking" or number != str(progress.total):
        audit(request, "confirm", job_id, "refused (it does not ask for this)")
        raise RefusedError(HTTPStatus.CONFLICT, "The job does not ask for this confirmation, or no longer.")
    app = await jobs.app()
    await app.signal(job_id, CONFIRMED, progress.total, id=f"confirmed-{progress.total}")
    audit(request, "confirm", job_id, f"done: {progress.total} instances")
    return RedirectResponse(target, HTTPStatus.SEE_OTHER)


async def _row_of(store: Store, job_id: str) -> InstanceRow:
    found = await store.read(job_id, limit=0)
    if found is None or found.instance.workflow_name != NAME:
        raise not_found("There is no job with this id. It may have been purged.")
    return found.instance


async def _shown(store: Store, row: InstanceRow) -> Shown:
    job = None if is_sealed(row.input, "input") else job_in(row.input)
    search = None if job is None else search_of(job)
    try:
        progress = await _progress_of(store, row)
    except CodecError:
        progress = None
    return Shown(Instance.of(row), job, search, progress, row.status in TERMINAL_STATUSES, version_of(row))


async def _progress_of(store: Store, row: InstanceRow) -> Progress | None:
    """The last report."""
    end = await near_the_end(store, row)
    window = await read_window(store, row.instance_id, max(end - _BACK, 0))
    for _, event, _ in reversed(list(window.events() if window is not None else ())):
        if isinstance(event, ProgressReported):
            return msgspec.json.decode(event.state, type=Progress)
    return None
