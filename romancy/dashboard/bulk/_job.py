"""The job that acts on many instances: a workflow, so that it continues after a crash, with its progress in its log.

First it counts: the ids of all instances that match go into its log. If their number is not the one that was confirmed,
it waits for a second confirmation. Then it acts on these instances and on no others, some at a time.

The definitions are not declared: an app that takes every workflow of its process does not get this one.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final, cast

from romancy._job_name import NAME
from romancy._operating import Operator  # noqa: TC001 - signatures of activities are read when the app opens
from romancy.activity import Activity
from romancy.attempt_context import ActivityContext  # noqa: TC001 - the same
from romancy.context import WorkflowContext  # noqa: TC001 - the same
from romancy.dashboard._acting import ACTIONS
from romancy.dashboard.bulk._doing import act_on_each
from romancy.dashboard.bulk._matching import matching
from romancy.dashboard.bulk._records import Job, Progress, search_of
from romancy.depends import Depends
from romancy.errors import EventTimeoutError, TerminalError
from romancy.retry import RetryPolicy
from romancy.workflow import Workflow

__all__ = ["BULK", "CONFIRMED", "MOST", "job_in", "operator_of_the_dashboard"]

CONFIRMED: Final = "romancy.dashboard.confirmed"
"""The signal that confirms what the job has counted. Its data are the number."""
MOST: Final = 100_000
"""Upper bound on the instances of a job, which keeps their ids."""
_EACH: Final = 40
_PATIENCE: Final = timedelta(hours=1)
_NOTES: Final = 20
_audit: Final = logging.getLogger("romancy.dashboard.audit")


@dataclass(frozen=True)
class Found:
    """A page of the instances that match."""

    ids: list[str]
    following: str | None
    at: int
    """The database's time before the page was read."""


def operator_of_the_dashboard() -> Operator:
    """Provider of the operator. The app that runs the job overrides it."""
    raise LookupError("jobs run in the process of a dashboard")


async def _job_of(operator: Operator, job_id: str) -> Job:
    """The job, read from its own row, so that it is not written into the log with each activity."""
    found = await operator.store.read(job_id, limit=0)
    if found is None:
        raise TerminalError("the job is gone")
    return job_in(found.instance.input)


def job_in(stored: bytes) -> Job:
    """The job in the stored input of an instance."""
    (job,), _ = BULK.signature.decode_arguments(stored)
    return cast("Job", job)


async def _find(ctx: ActivityContext, page: str, *, operator: Operator = Depends(operator_of_the_dashboard)) -> Found:
    job = await _job_of(operator, ctx.instance_id)
    at = (await operator.store.services.reading.census()).now
    rows, following = await matching(operator.store, ACTIONS[job.verb], search_of(job), job.asked, page)
    return Found([row.instance_id for row in rows], following, at)


async def _act(
    ctx: ActivityContext, counted_at: int, ids: list[str], *, operator: Operator = Depends(operator_of_the_dashboard)
) -> Progress:
    """Act on these instances and return the progress."""
    job = await _job_of(operator, ctx.instance_id)
    results = await act_on_each(operator, job, ctx.instance_id, counted_at, ids)
    for result in results:
        _audit.info("%.200r: %s %.300r by %s: %s", job.who, job.verb, result.id, ctx.instance_id, result.words)
    outcomes = [result.outcome for result in results]
    return Progress(
        "acting",
        done=outcomes.count("done"),
        skipped=outcomes.count("skipped"),
        failed=outcomes.count("failed"),
        notes=[(result.id, result.words[:200]) for result in results if result.outcome != "done"][:_NOTES],
    )


_PATIENT: Final = RetryPolicy(max_attempts=0, initial_interval=1.0, max_interval=30.0)
_find_page: Final = Activity[..., Any](
    _find, name=f"{NAME}.find", retry=_PATIENT, transactional=False, pass_context=True
)
_act_on_some: Final = Activity[..., Any](
    _act, name=f"{NAME}.act", retry=_PATIENT, transactional=False, pass_context=True
)


async def _bulk(ctx: WorkflowContext, job: Job) -> Progress:
    """Count, ask for a second confirmation if necessary, and act."""
    ids: list[str] = []
    page: str | None = ""
    counted_at = 0
    while page is not None:
        found: Found = await _find_page(page)
        counted_at = counted_at or found.at
        ids += found.ids
        page = found.following
        await ctx.report(Progress("counting", len(ids)))
        if len(ids) > MOST:
            return await _ended(ctx, Progress("too many", len(ids)))
    if ids and len(ids) != job.expected and not await _is_confirmed(ctx, len(ids)):
        return await _ended(ctx, Progress("unanswered", len(ids)))
    progress = Progress("acting", len(ids))
    for first in range(0, len(ids), _EACH):
        await ctx.report(progress)
        part: Progress = await _act_on_some(counted_at, ids[first : first + _EACH])
        progress = _sum(progress, part)
    return await _ended(ctx, replace(progress, phase="done"))


async def _is_confirmed(ctx: WorkflowContext, number: int) -> bool:
    """Wait for a signal with this number."""
    await ctx.report(Progress("asking", number))
    while True:
        try:
            answer = await ctx.wait_event(CONFIRMED, timeout=_PATIENCE)
        except EventTimeoutError:
            return False
        if answer.data == number:
            return True


async def _ended(ctx: WorkflowContext, progress: Progress) -> Progress:
    await ctx.report(progress)
    return progress


def _sum(one: Progress, other: Progress) -> Progress:
    return replace(
        one,
        done=one.done + other.done,
        skipped=one.skipped + other.skipped,
        failed=one.failed + other.failed,
        notes=[*one.notes, *other.notes][:_NOTES],
    )


BULK: Final = Workflow[[Job], Progress](_bulk, name=NAME, version="1")
