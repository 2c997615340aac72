"""Handles a start whose id is taken: returns the existing instance, refuses, or replaces it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from romancy._renewing import RENEWS, renew
from romancy._same import check_same
from romancy._starts import taken
from romancy.engine import new_life, start_in, start_of
from romancy.errors import InstanceConflictError, StorageUnavailableError
from romancy.storage.records import Former, Outcome

if TYPE_CHECKING:
    from msgspec import Raw

    from romancy._renewing import Writing
    from romancy._starts import IfExists
    from romancy.handle import Handle
    from romancy.storage.records import Start

__all__ = ["Wanted"]


class Wanted:
    """One start, and what to do if its id is taken."""

    def __init__(self, writing: Writing, handle: Handle[Any], raw: Raw) -> None:
        self._writing = writing
        self._handle = handle
        self._raw = raw

    async def judge(self, outcome: Outcome, if_exists: IfExists) -> bool:
        """Whether the instance was started. If its id is taken, do what `if_exists` says."""
        instance_id = self._handle.instance_id
        if outcome is Outcome.ACCEPTED:
            return True
        if outcome is not Outcome.EXISTS:
            raise StorageUnavailableError(f"instance {instance_id} could not be started ({outcome}); try again")
        if if_exists == "refuse":
            raise taken(instance_id)
        if if_exists in RENEWS:
            store = self._writing.opened()
            start = self._start()
            if await renew(store, start, RENEWS[if_exists], self._writing.alone):
                self._writing.begun(instance_id, start.life)
                return True
        await check_same(self._writing.opened(), instance_id, self._handle.workflow, self._raw)
        return False

    async def start_in(self, session: object, if_exists: IfExists) -> bool:
        """Start in the caller's transaction, which only the caller commits. False if the instance existed."""
        store, start = self._writing.opened(), self._start()
        outcome = await start_in(session, store, start)
        if outcome is Outcome.EXISTS:
            found = await store.read(start.instance_id, limit=0)
            if found is None:
                raise self._twice()
            row = found.instance
            if row.status in RENEWS.get(if_exists, ()) and row.workflow_name == start.workflow_name:
                outcome = await start_in(session, store, start, former=Former(row.life, RENEWS[if_exists]))
                if outcome is Outcome.EXISTS:
                    raise self._twice()
        return await self.judge(outcome, "return" if if_exists in RENEWS else if_exists)

    def _start(self) -> Start:
        definition = self._handle.workflow
        assert definition is not None  # noqa: S101 - what is started is known
        return start_of(
            definition,
            self._raw,
            instance_id=self._handle.instance_id,
            life=new_life(),
            writer=self._writing.nonce(),
            now=0,
            delay=round(definition.delay * 1_000_000),
        )

    def _twice(self) -> InstanceConflictError:
        instance_id = self._handle.instance_id
        return InstanceConflictError(
            f"instance {instance_id!r} was started in this very transaction already, or by another one just now; "
            "start it once",
            conflicts=[instance_id],
        )
