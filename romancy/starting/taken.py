"""Handles a start whose id is taken: returns the existing instance, refuses, or replaces it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from romancy.core import WorkflowStarted
from romancy.engine import new_life, start_in, start_of
from romancy.errors import InstanceConflictError, StorageUnavailableError, UsageError
from romancy.log import commit_of
from romancy.serialization import refuse_sealed
from romancy.starting.checks import taken
from romancy.starting.renewing import RENEWS, renew, replace, workflow_of
from romancy.storage.records import Former, Outcome

if TYPE_CHECKING:
    from msgspec import Raw

    from romancy._access import Access
    from romancy.results.watch import Watches
    from romancy.starting.checks import IfExists
    from romancy.starting.start import Start
    from romancy.storage.protocol import Store
    from romancy.storage.records import Append, InstanceRow
    from romancy.workflow import Workflow

__all__ = ["TakenId"]


class TakenId:
    """One start, and what to do if its id is taken."""

    def __init__(self, access: Access, watches: Watches, start: Start[Any]) -> None:
        self._access = access
        self._watches = watches
        self._wanted = start
        self._instance_id = start.instance_id

    async def judge(self, outcome: Outcome, if_exists: IfExists) -> bool:
        """Whether the instance was started. If its id is taken, do what `if_exists` says."""
        instance_id = self._instance_id
        if outcome is Outcome.ACCEPTED:
            return True
        if outcome is not Outcome.EXISTS:
            raise StorageUnavailableError(f"instance {instance_id} could not be started ({outcome}); try again")
        if if_exists == "refuse":
            raise taken(instance_id)
        if (start := await self._instead(if_exists)) is not None:
            self._watches.begun_anew(instance_id, start.life)
            return True
        await _check_same(self._access.opened(), instance_id, self._wanted.workflow, self._wanted.input)
        return False

    async def _instead(self, if_exists: IfExists) -> Append | None:
        """Start the instance in place of the one that is there, if `if_exists` says so. None if that one stays."""
        if if_exists != "replace" and if_exists not in RENEWS:
            return None
        store, start = self._access.opened(), self._start()
        if if_exists == "replace":
            replaced = await replace(store, start, self._access)
        else:
            replaced = await renew(store, start, RENEWS[if_exists])
        return start if replaced else None

    async def start_in(self, session: object, if_exists: IfExists) -> bool:
        """Start in the caller's transaction, which only the caller commits. False if the instance existed."""
        if if_exists == "replace":
            raise UsageError(
                "if_exists='replace' ends an open instance by a commit of its own: leave session= out, or use "
                "'restart_ended'"
            )
        store, start = self._access.opened(), self._start()
        outcome = await start_in(session, store, start)
        if outcome is Outcome.EXISTS:
            found = await store.read(start.instance_id, limit=0)
            if found is None:
                raise self._twice()
            row = found.instance
            if row.status in RENEWS.get(if_exists, ()) and row.workflow_name == workflow_of(start):
                outcome = await start_in(session, store, start, former=Former(row.life, RENEWS[if_exists]))
                if outcome is Outcome.EXISTS:
                    raise self._twice()
        return await self.judge(outcome, "return" if if_exists in RENEWS else if_exists)

    def _start(self) -> Append:
        wanted = self._wanted
        return start_of(
            wanted.workflow,
            wanted.input,
            instance_id=self._instance_id,
            life=new_life(self._instance_id),
            writer=self._access.nonce(),
            now=0,
        )

    def _twice(self) -> InstanceConflictError:
        instance_id = self._instance_id
        return InstanceConflictError(
            f"instance {instance_id!r} was started in this very transaction already, or by another one just now; "
            "start it once",
            conflicts=[instance_id],
        )


async def _check_same(store: Store, instance_id: str, definition: Workflow[..., Any], raw: Raw) -> None:
    """Raise InstanceConflictError unless the instance is of this workflow and was started with this input."""
    history = await store.read(instance_id, limit=0)
    if history is None:
        raise StorageUnavailableError(f"instance {instance_id} was just removed; start it again")
    row, name = history.instance, definition.name
    given = await _first_input(store, row) if row.run_from > 1 else row.input
    refuse_sealed(given or b"", "input", f"the input of instance {instance_id}")
    same = given is None or definition.is_same_call(given, raw)
    if row.workflow_name != name or not same:
        what = "with another input" if row.workflow_name == name else f"of {row.workflow_name}"
        raise InstanceConflictError(
            f"instance {instance_id!r} exists already, {what}; choose another id or start it with the same input",
            conflicts=[instance_id],
        )


async def _first_input(store: Store, row: InstanceRow) -> bytes | None:
    """The first input of an instance that continued as new. None if that part of the log was pruned."""
    first = await store.read(row.instance_id, limit=1)
    if first is None or not first.rows or first.rows[0].seq != 1:
        return None
    started = commit_of(row.instance_id, 1, first.rows[0].body)[0]
    return bytes(started.input) if isinstance(started, WorkflowStarted) else None
