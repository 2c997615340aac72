"""Submits starts to the database, many at a time while there is room, and returns each answer."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Final, TypeVar

from romancy._many import AT_ONCE
from romancy._named import NamedWorkflow
from romancy._starts import warn_of_unknown
from romancy.core import driving
from romancy.engine import Unanswered, new_life, start_of
from romancy.storage.records import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from msgspec import Raw

    from romancy.engine import LogWriter, Worker
    from romancy.handle import Handle
    from romancy.registry import Registry
    from romancy.workflow import Call

__all__ = ["Prepared", "Submissions", "Submitted"]

T = TypeVar("T")

Prepared = tuple["Call[T]", "Handle[T]", "Raw", int]
"""A start: the call, the handle of its instance, the encoded input, and the delay in microseconds."""
Submitted = tuple["Handle[T]", "Raw", "asyncio.Future[Outcome]"]
"""A start that was given to the log writer, with the future of its answer."""

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

    async def submit(self, prepared: Sequence[Prepared[T]]) -> list[Submitted[T]]:
        """Submit all starts, and wait for room if necessary. Starts submitted together share commits."""
        submitted: list[Submitted[T]] = []
        while len(submitted) < len(prepared):
            await self._unanswered.turn()
            with self._writer.gathering():
                while self._unanswered.has_room and len(submitted) < len(prepared):
                    submitted += self._submit_some(prepared[len(submitted) : len(submitted) + AT_ONCE])
                    if len(submitted) < len(prepared):
                        await asyncio.sleep(0)
        return submitted

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
        answer = self._unanswered.submitted(len(raw))
        done = functools.partial(self._unanswered.answer, answer)
        known = definition.name in self._registry.workflows
        worker = self._worker
        if worker is not None and known and not worker.draining and not isinstance(definition, NamedWorkflow):
            try:
                worker.starts.begin(definition, raw, instance_id, delay, done)
            except BaseException:
                self._unanswered.answer(answer, Outcome.INVALID)
                raise
            return handle, raw, answer
        if worker is not None and not known:
            warn_of_unknown(definition.name, self._unknown)
        item = start_of(
            definition, raw, instance_id=instance_id, life=new_life(), writer=self._nonce(), now=0, delay=delay
        )
        self._writer.submit(item, done)
        return handle, raw, answer
