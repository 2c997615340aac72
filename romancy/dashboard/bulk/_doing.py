"""Acts on each of many instances, unless it has changed since it was counted."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Literal, NamedTuple

from romancy._job_name import NAME
from romancy.dashboard._acting import ACTIONS
from romancy.dashboard._refused import RefusedError
from romancy.dashboard.bulk._matching import statuses_for
from romancy.dashboard.bulk._records import search_of
from romancy.errors import RomancyError, StorageError
from romancy.instance import Instance

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy._operating import Operator
    from romancy.dashboard._acting import Action
    from romancy.dashboard._guard import Form
    from romancy.dashboard.bulk._records import Job
    from romancy.storage.records import InstanceRow

__all__ = ["Result", "act_on_each"]


class Result(NamedTuple):
    """The outcome for one instance."""

    id: str
    outcome: Literal["done", "skipped", "failed"]
    words: str = "done"


async def act_on_each(operator: Operator, job: Job, job_id: str, counted_at: int, ids: Sequence[str]) -> list[Result]:
    """Act on these instances, all at once. Raises StorageError if the database is away; the call may be repeated.

    A signal without an id of its own gets the job's, so that a repetition is dropped.
    """
    action, form = ACTIONS[job.verb], job.fields
    statuses = statuses_for(action, search_of(job))
    if "id" in action.fields and not any(form.get("id", [])):
        form = {**form, "id": [job_id]}

    async def one(instance_id: str) -> Result:
        found = await operator.store.read(instance_id, limit=0)
        if found is None:
            return Result(instance_id, *(("done", "gone") if job.verb == "purge" else ("skipped", "it is gone")))
        row = found.instance
        if row.created_at > job.asked or row.workflow_name == NAME:
            return Result(instance_id, "skipped", "another instance has the id now")
        if row.status not in statuses:
            return Result(instance_id, "skipped", f"it is {row.status} now")
        if action.settled and row.updated_at > counted_at:
            return Result(instance_id, "skipped", "it has changed since it was counted")
        return await _act(operator, action, row, form)

    results = await asyncio.gather(*map(one, ids), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if isinstance(result, Result)]


async def _act(operator: Operator, action: Action, row: InstanceRow, form: Form) -> Result:
    try:
        if action.verb == "purge":
            if not await operator.purge_as_found(Instance.of(row)):
                return Result(row.instance_id, "failed", "it has changed just now, or another call holds it")
        elif await action.act(operator, row.instance_id, form) is False:
            return Result(row.instance_id, "skipped", "it had ended already")
    except StorageError:
        raise
    except (RomancyError, RefusedError) as error:
        return Result(row.instance_id, "failed", str(error) or type(error).__name__)
    return Result(row.instance_id, "done")
