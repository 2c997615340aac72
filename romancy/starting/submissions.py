"""Submits starts to the database, many at a time while there is room, and returns each answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, NamedTuple, TypeVar

from romancy._named_workflows import NamedWorkflow
from romancy.core import driving
from romancy.engine import Turns, Unanswered, new_life, start_of
from romancy.errors import StorageUnavailableError, UsageError
from romancy.starting.asking import TakenIds
from romancy.starting.checks import warn_of_unknown
from romancy.starting.many import AT_ONCE
from romancy.storage.records import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from msgspec import Raw

    from romancy._access import Access
    from romancy.engine import Asked, LogWriter, Worker
    from romancy.handle import Handle
    from romancy.hooks import Sending
    from romancy.registry import Registry
    from romancy.workflow import Workflow

__all__ = ["PreparedStart", "Submissions", "SubmittedStart"]

T = TypeVar("T")


class PreparedStart(NamedTuple, Generic[T]):
    """A start whose call has been checked."""

    handle: Handle[T]
    workflow: Workflow[..., T]
    """The workflow, with all headers of this start."""
    raw: Raw
    """The encoded input."""
    delay: int
    """In microseconds."""
    chosen: bool
    """Whether the id of the instance is the caller's."""
    sending: Sending | None
    """What hooks were asked about, and are told once the start is durable."""


SubmittedStart = tuple[PreparedStart[T], "Asked"]
"""A start that was given to the log writer."""

_MOST_UNANSWERED: Final = 64 * 1024 * 1024
"""Upper bound on the bytes of unanswered starts. Further starts wait."""

_CALLERS_AT_ONCE: Final = 50
"""How many callers begin a start in one turn of the event loop, each in a task of its own."""
_MOST_REMEMBERED: Final = 10_000


class _Known(NamedTuple):
    """What is known of chosen ids before their starts are submitted."""

    taken: Collection[str]
    unsure: frozenset[str]
    """Ids of which the database did not say whether they are taken. Their starts are written without running code."""
    asked_at: int
    """Which starts had begun here when the database was asked: its answer may be older than the others."""


_NOTHING: Final = _Known(frozenset(), frozenset(), 0)


class _Begun:
    """The chosen ids whose starts ran code here lately, by number."""

    def __init__(self) -> None:
        self.count = 0
        self._numbers: dict[str, int] = {}

    def note(self, instance_id: str) -> None:
        """Record that a start of this id runs code."""
        self.count += 1
        self._numbers.pop(instance_id, None)
        self._numbers[instance_id] = self.count
        if len(self._numbers) > _MOST_REMEMBERED:
            del self._numbers[next(iter(self._numbers))]

    def since(self, instance_id: str, asked_at: int) -> bool:
        """Whether a start of this id has run code since the database was asked about it."""
        return self._numbers.get(instance_id, 0) > asked_at


class Submissions:
    """The starts of one opened app that the database has not answered yet."""

    def __init__(self, access: Access, registry: Registry, writer: LogWriter) -> None:
        self._access = access
        self._registry = registry
        self._writer = writer
        self._turns = Turns(_CALLERS_AT_ONCE)
        """The callers that begin a start. A call for many starts has whole turns."""
        self._unanswered = Unanswered(_MOST_UNANSWERED)
        self._begun = _Begun()
        self._taken = TakenIds()
        self._unknown: set[str] = set()
        """Names of workflows unknown here, for one warning each."""

    async def turn(self) -> bool:
        """Return when a start may begin: whether it had to wait for a later turn of the loop, since many others begin.

        Starts whose callers wait share commits, as those of one call do.
        """
        if self._turns.take():
            return False
        with self._writer.gathering():
            await self._turns.wait()
        return True

    async def whole_turn(self) -> None:
        """Return in a turn of the event loop in which nobody else begins a start after this caller."""
        await self._turns.wait(AT_ONCE)

    async def submit(
        self, prepared: Sequence[PreparedStart[T]], submitted: list[SubmittedStart[T]], progress: Callable[[], None]
    ) -> None:
        """Submit all starts into the list, and wait for room if necessary. Starts submitted together share commits.

        `progress` is called when there is room for more. Whether a chosen id is taken is asked first: a start that is
        repeated must run nothing.
        """
        known = _NOTHING
        for one in prepared:
            if one.chosen:
                known = await self._look(prepared)
                break
        while len(submitted) < len(prepared):
            await self._unanswered.turn()
            if submitted:
                progress()
            with self._writer.gathering():
                while self._unanswered.has_room and len(submitted) < len(prepared):
                    submitted += self._submit_some(prepared[len(submitted) : len(submitted) + AT_ONCE], known)
                    if len(submitted) < len(prepared):
                        await self.whole_turn()

    def give_up(self, submitted: Iterable[SubmittedStart[T]]) -> list[str]:
        """Withdraw the starts that were not sent yet. Return the ids of the others, which are there or may be."""
        return [one.handle.instance_id for one, asked in submitted if not self._is_withdrawn(asked)]

    def _is_withdrawn(self, asked: Asked) -> bool:
        if asked.answer.done() and not asked.answer.cancelled():
            return False
        asked.given_up = True
        return asked.item is not None and self._writer.withdraw(asked.item)

    def refuse(self) -> None:
        """Fail all callers that wait to begin a start: the app is being closed."""
        self._turns.close(UsageError("the app was closed before the instance could be started"))

    def close(self) -> None:
        """Fail all waiting callers: no answer will come."""
        self._unanswered.close()

    async def _look(self, prepared: Sequence[PreparedStart[T]]) -> _Known:
        """Which ids are taken, of the chosen ones whose starts would run code here at once."""
        worker = self._access.worker
        if worker is None or worker.draining:
            return _NOTHING
        known = self._registry.workflows
        ids = [
            one.handle.instance_id for one in prepared if one.chosen and one.workflow.name in known and not one.delay
        ]
        store, asked_at = self._access.opened(), self._begun.count
        try:
            taken = await self._taken.among(store, ids)
        except StorageUnavailableError:
            return _Known(frozenset(), frozenset(ids), asked_at)
        return _Known(taken, frozenset(), asked_at)

    def _submit_some(self, starts: Sequence[PreparedStart[T]], known: _Known) -> list[SubmittedStart[T]]:
        """Submit these starts in one turn of the event loop while there is room; the first one always."""
        self._access.opened()
        submitted: list[SubmittedStart[T]] = []
        with driving():
            for one in starts:
                if submitted and not self._unanswered.has_room:
                    break
                submitted.append((one, self._submit(one, known)))
        return submitted

    def _may_exist(self, instance_id: str, known: _Known, worker: Worker) -> bool:
        if instance_id in known.unsure or instance_id in worker.starts.under_way:
            return True
        return self._begun.since(instance_id, known.asked_at)

    def _submit(self, start: PreparedStart[T], known_ids: _Known) -> Asked:
        definition, instance_id = start.workflow, start.handle.instance_id
        asked = self._unanswered.submitted(len(start.raw))
        if instance_id in known_ids.taken:
            asked(Outcome.EXISTS)
            return asked
        known = definition.name in self._registry.workflows
        worker = self._access.worker
        runs = worker is not None and known and not worker.draining and not isinstance(definition, NamedWorkflow)
        if worker is not None and runs and not self._may_exist(instance_id, known_ids, worker):
            if start.chosen:
                self._begun.note(instance_id)
            try:
                worker.starts.begin(definition, start.raw, instance_id, start.delay, asked)
            except BaseException:
                asked(Outcome.INVALID)
                raise
            return asked
        if worker is not None and not known:
            warn_of_unknown(definition.name, self._unknown)
        item = start_of(
            definition,
            start.raw,
            instance_id=instance_id,
            life=new_life(instance_id),
            writer=self._access.nonce(),
            now=0,
            delay=start.delay,
        )
        asked.item = item
        self._writer.submit(item, asked)
        return asked
