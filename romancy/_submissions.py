"""Submits starts to the database, many at a time while there is room, and returns each answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, TypeVar

from romancy._many import AT_ONCE
from romancy._named import NamedWorkflow
from romancy._starts import warn_of_unknown
from romancy.core import driving
from romancy.engine import Unanswered, new_life, start_of
from romancy.storage.records import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from msgspec import Raw

    from romancy.engine import Asked, LogWriter, Worker
    from romancy.handle import Handle
    from romancy.registry import Registry
    from romancy.workflow import Call

__all__ = ["Prepared", "Submissions", "Submitted"]

T = TypeVar("T")

Prepared = tuple["Call[T]", "Handle[T]", "Raw", int]
"""A start: the call, the handle of its instance, the encoded input, and the delay in microseconds."""
Submitted = tuple["Handle[T]", "Raw", "Asked"]
"""A start that was given to the log writer."""

_MOST_UNANSWERED: Final = 64 * 1024 * 1024
"""Upper bound on the bytes of unanswered starts. Further starts wait."""


class Submissions:
    """The starts of one opened app that the database has not answered yet."""

    def __init__(
        self,
        registry: Registry,
        writer: LogWriter,
        worker: Worker | None,
        *,
        check_open: Callable[[], object],
        nonce: Callable[[], str],
    ) -> None:
        self._registry = registry
        self._writer = writer
        self._worker = worker
        self._check_open = check_open
        self._nonce = nonce
        self._unanswered = Unanswered(_MOST_UNANSWERED)
        self._unknown: set[str] = set()
        """Names of workflows unknown here, for one warning each."""

    async def submit(
        self, prepared: Sequence[Prepared[T]], submitted: list[Submitted[T]], progress: Callable[[], None]
    ) -> None:
        """Submit all starts into the list, and wait for room if necessary. Starts submitted together share commits.

        `progress` is called when there is room for more.
        """
        while len(submitted) < len(prepared):
            await self._unanswered.turn()
            if submitted:
                progress()
            with self._writer.gathering():
                while self._unanswered.has_room and len(submitted) < len(prepared):
                    submitted += self._submit_some(prepared[len(submitted) : len(submitted) + AT_ONCE])
                    if len(submitted) < len(prepared):
                        await asyncio.sleep(0)

    def give_up(self, submitted: Iterable[Submitted[T]]) -> list[str]:
        """Withdraw the starts that were not sent yet. Return the ids of the others, which are there or may be."""
        return [handle.instance_id for handle, _, asked in submitted if not self._is_withdrawn(asked)]

    def _is_withdrawn(self, asked: Asked) -> bool:
        if asked.answer.done() and not asked.answer.cancelled():
            return False
        asked.given_up = True
        return asked.item is not None and self._writer.withdraw(asked.item)

    def close(self) -> None:
        """Fail all waiting callers: no answer will come."""
        self._unanswered.close()

    def _submit_some(self, calls: Sequence[Prepared[T]]) -> list[Submitted[T]]:
        """Submit these starts in one turn of the event loop while there is room; the first one always."""
        self._check_open()
        submitted: list[Submitted[T]] = []
        with driving():
            for call in calls:
                if submitted and not self._unanswered.has_room:
                    break
                submitted.append(self._submit(*call))
        return submitted

    def _submit(self, call: Call[T], handle: Handle[T], raw: Raw, delay: int) -> Submitted[T]:
        definition, instance_id = handle.workflow or call.workflow, handle.instance_id
        asked = self._unanswered.submitted(len(raw))
        known = definition.name in self._registry.workflows
        worker = self._worker
        if worker is not None and known and not worker.draining and not isinstance(definition, NamedWorkflow):
            try:
                worker.starts.begin(definition, raw, instance_id, delay, asked)
            except BaseException:
                asked(Outcome.INVALID)
                raise
            return handle, raw, asked
        if worker is not None and not known:
            warn_of_unknown(definition.name, self._unknown)
        item = start_of(
            definition,
            raw,
            instance_id=instance_id,
            life=new_life(instance_id),
            writer=self._nonce(),
            now=0,
            delay=delay,
        )
        asked.item = item
        self._writer.submit(item, asked)
        return handle, raw, asked
