"""Takes the starts of one app in turns of the event loop, submits them, and gives each its answer.

A turn of the loop runs everything that is ready. Five thousand tasks that each start an instance would run one after
the other in it, and hold up all other tasks. What they ask for is therefore put into a line. A turn takes so many
starts from it, checks each in the context of its caller, drives all of them together, and gives them to the log writer.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from romancy._named_workflows import WorkflowType
from romancy.attempt_context import entered_activity
from romancy.engine import refuse_to_wait, start_of
from romancy.errors import StorageUnavailableError, UsageError
from romancy.starting.checks import warn_of_unknown
from romancy.starting.many import AT_ONCE
from romancy.starting.start import LEAST
from romancy.storage.any_store import taken_ids_of
from romancy.storage.records import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from romancy._access import Access
    from romancy.engine import LogWriter, Worker
    from romancy.registry import Registry
    from romancy.starting.start import Start

__all__ = ["Submissions"]

_MOST_UNANSWERED: Final = 64 * 1024 * 1024
"""Upper bound on the bytes of unanswered starts. Further starts wait."""
_CALLERS_AT_ONCE: Final = 50
"""How many callers begin a start in one turn of the event loop, each in a task of its own."""
_IDS_AT_ONCE: Final = 1000
_MOST_REMEMBERED: Final = 10_000


class _Turn(NamedTuple):
    """A caller that does the rest itself once its turn has come, as so many callers."""

    come: asyncio.Future[None]
    callers: int


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


def _closed() -> UsageError:
    return UsageError("the app was closed before the instance could be started")


class Submissions:
    """The starts of one opened app that are not answered yet."""

    def __init__(
        self, access: Access, registry: Registry, writer: LogWriter, check: Callable[[Start[Any]], None]
    ) -> None:
        """`check` checks a call and fills in what follows from it."""
        self._access = access
        self._registry = registry
        self._writer = writer
        self._check_call = check
        self._context = copy_context()
        """The context in which callers are driven together: it is nobody's."""
        self._line: deque[Start[Any] | _Turn] = deque()
        """Those that nobody has looked at yet."""
        self.ready: deque[Start[Any]] = deque()
        """Checked starts that are submitted next."""
        self.rooms: deque[asyncio.Future[None]] = deque()
        """Calls for many that wait until there is room for more."""
        self._chosen: list[Start[Any]] = []
        """Checked starts whose ids the database is to be asked about."""
        self._looks: set[asyncio.Task[None]] = set()
        self.unanswered: dict[Start[Any], bool] = {}
        self.left = _MOST_UNANSWERED
        """How many bytes may be submitted now. The last start may be of any size."""
        self.timed = access.deadlines.began
        self._goes_on = False
        """Whether a turn is to come."""
        self._gathers = False
        """Whether the writer waits for those who come in it."""
        self._begun = _Begun()
        self._unknown: set[str] = set()
        """Names of workflows unknown here, for one warning each."""

    # ── callers ─────────────────────────────────────────────────────────────────────────────────────────────────

    def ask(self, start: Start[Any]) -> None:
        """Begin the start: now if no other is under way, else in a turn together with others."""
        if self._goes_on or self.unanswered or self._looks:  # with them, it may share a turn and a commit
            start.context = copy_context()
            self._line.append(start)
            if not self._goes_on:
                self.go_on()
        else:
            self._check(start)
            self._ask_for_chosen()
            self._submit(self.ready)

    async def turn(self, count: int = 1) -> None:
        """Return when a caller may begin, as so many callers. The last one of a turn may be any number."""
        if count == 1 and not (self._goes_on or self.unanswered or self._looks):
            return
        turn = _Turn(asyncio.get_running_loop().create_future(), count)
        self._line.append(turn)
        self.go_on()
        await turn.come

    async def ask_for_all(self, starts: Sequence[Start[Any]], progress: Callable[[], None]) -> None:
        """Submit all starts of one call, which are checked, and wait for room if necessary.

        They share commits. `progress` is called when there is room for more.
        """
        if asking := [start for start in starts if start.chosen and self._is_looked_up(start)]:
            await self._ask_whether_taken(asking)
        line = deque(starts)
        while line:
            if self.left <= 0:
                room = asyncio.get_running_loop().create_future()
                self.rooms.append(room)
                await room
                progress()
            with self._writer.gathering():
                while line and self.left > 0:
                    self._access.opened()
                    self._submit(line, AT_ONCE)
                    if line:
                        await self.turn(AT_ONCE)

    def give_up(self, starts: Iterable[Start[Any]]) -> list[str]:
        """Withdraw the starts that were not sent yet. Return the ids of the others, which are there or may be."""
        sent = [start.instance_id for start in starts if not self._is_withdrawn(start)]
        for start in starts:
            start.answer.cancel()
        return sent

    def late(self, start: Start[Any]) -> Exception:
        """Withdraw a start that the database has not answered in time. The error for its caller."""
        call = self._access.deadlines.call("start", [start.instance_id])
        if self._is_withdrawn(start):
            call.instance_ids = None
        return call.late()

    def _is_withdrawn(self, start: Start[Any]) -> bool:
        if start.answer.done() and not start.answer.cancelled():
            return False
        start.given_up = True
        self.timed.pop(start, None)
        if start not in self.unanswered:
            return True
        return start.item is not None and self._writer.withdraw(start.item)

    def refuse(self, error: Exception | None = None) -> None:
        """Fail all callers that wait to begin a start: the app is being closed."""
        error = error or _closed()
        for look in self._looks:
            look.cancel()
        waiting = [*self._line, *self.ready, *self._chosen]
        turns = [one.come for one in waiting if isinstance(one, _Turn)]
        for come in (*turns, *self.rooms):
            if not come.done():
                come.set_exception(error)
        for line in (self._line, self.ready, self._chosen, self.rooms):
            line.clear()
        self._fail([one for one in waiting if not isinstance(one, _Turn)], error)

    def close(self) -> None:
        """Fail all waiting callers: no answer will come."""
        self.refuse()
        error = StorageUnavailableError(
            "the app was closed before the database had answered: the instance may have been started; "
            "start it again under the same instance id to find out"
        )
        self._fail(list(self.unanswered), error)

    @staticmethod
    def _fail(starts: Iterable[Start[Any]], error: Exception) -> None:
        for start in starts:
            start.fail(error)

    # ── turns ───────────────────────────────────────────────────────────────────────────────────────────────────

    def go_on(self) -> None:
        """Begin the next ones in a turn to come. Until then, the writer waits for them."""
        if self._goes_on:
            return
        self._goes_on = True
        if not self._gathers:
            self._gathers = True
            self._writer.gathers(1)
        asyncio.get_running_loop().call_soon(self._begin_next, context=self._context)

    def _begin_next(self) -> None:
        self._goes_on = False
        try:
            self._access.opened()
        except Exception as error:  # noqa: BLE001 - each caller gets it
            self.refuse(error)
        try:
            self._check_next()
            self._ask_for_chosen()
            self._submit(self.ready)
        finally:
            if self._line or (self.left > 0 and (self.ready or self.rooms)):
                self.go_on()
            else:
                self._gathers = False
                self._writer.gathers(-1)

    def _check_next(self) -> None:
        count, line = 0, self._line
        while line and count < _CALLERS_AT_ONCE:
            one = line.popleft()
            if isinstance(one, _Turn):
                if not one.come.done():  # else its caller has given up
                    one.come.set_result(None)
                    count += one.callers
            elif not one.answer.done():
                one.context.run(self._check, one)
                count += 1
        while self.rooms and self.left > 0:
            room = self.rooms.popleft()
            if not room.done():
                room.set_result(None)
                break  # the next one follows if this caller leaves room

    def _check(self, start: Start[Any]) -> None:
        """Check a call in the context of its caller, and count its time from now."""
        try:
            self._check_call(start)
            if entered_activity() is not None:
                refuse_to_wait(self._access.opened(), "start", (start.instance_id,))
        except Exception as error:  # noqa: BLE001 - its caller gets it
            start.fail(error)
            return
        self._access.deadlines.begin(start)
        if start.chosen and self._is_looked_up(start):
            self._chosen.append(start)
        else:
            self.ready.append(start)

    # ── ids that are taken ──────────────────────────────────────────────────────────────────────────────────────

    def _is_looked_up(self, start: Start[Any]) -> bool:
        """Whether to ask the database first: a start that is repeated under its id must run nothing."""
        given = start.workflow.given
        return not (given.delay or given.paused) and given.at is None and self._driving(start) is not None

    def _ask_for_chosen(self) -> None:
        """Ask for all checked starts at a time."""
        if self._chosen:
            starts, self._chosen = self._chosen, []
            look = asyncio.get_running_loop().create_task(self._look(starts))
            self._looks.add(look)
            look.add_done_callback(self._looks.discard)

    async def _look(self, starts: Sequence[Start[Any]]) -> None:
        """Submit starts of chosen ids, once it is known which of them are taken."""
        try:
            await self._ask_whether_taken(starts)
        except asyncio.CancelledError:
            self._fail(starts, _closed())
            raise
        except Exception as error:  # noqa: BLE001 - each caller gets it
            self._fail(starts, error)
            return
        self.ready.extend(starts)
        self._submit(self.ready)
        if self.ready:
            self.go_on()

    async def _ask_whether_taken(self, starts: Sequence[Start[Any]]) -> None:
        store, asked_at = self._access.opened(), self._begun.count
        taken, unsure, ids = set[str](), False, [start.instance_id for start in starts]
        try:
            for first in range(0, len(ids), _IDS_AT_ONCE):
                taken |= await taken_ids_of(store, ids[first : first + _IDS_AT_ONCE])
        except StorageUnavailableError:
            unsure = True
        for start in starts:
            start.exists, start.unsure, start.asked_at = start.instance_id in taken, unsure, asked_at

    # ── submitting ──────────────────────────────────────────────────────────────────────────────────────────────

    def _submit(self, line: deque[Start[Any]], most: int = _CALLERS_AT_ONCE) -> None:
        """Submit so many starts of a line while there is room. Those that run code here are driven together."""
        driven: list[Start[Any]] = []
        while line and self.left > 0 and most:
            start = line.popleft()
            if start.given_up or start.answer.done():
                continue
            most -= 1
            self.left -= len(start.input) + LEAST
            self.unanswered[start] = True
            if start.exists:
                start.answered(Outcome.EXISTS)
            elif (worker := self._driving(start)) is None or (start.chosen and self._may_exist(start, worker)):
                self._begin(driven)  # one of them may have the same id
                self._leave(start)
            else:
                driven.append(start)
                if start.chosen:
                    self._begun.note(start.instance_id)
        self._begin(driven)

    def _begin(self, driven: list[Start[Any]]) -> None:
        if driven and self._access.worker is not None:
            self._access.worker.starts.begin(driven)
            driven.clear()

    def _driving(self, start: Start[Any]) -> Worker | None:
        """The worker of this app, if it would run the code of this start."""
        worker, workflow = self._access.worker, start.workflow
        if worker is None or worker.draining or workflow.name not in self._registry.workflows:
            return None
        return None if isinstance(workflow, WorkflowType) else worker

    def _may_exist(self, start: Start[Any], worker: Worker) -> bool:
        if start.unsure or start.instance_id in worker.starts.under_way:
            return True
        return self._begun.since(start.instance_id, start.asked_at)

    def _leave(self, start: Start[Any]) -> None:
        """Write a start without running its code."""
        workflow = start.workflow
        if self._access.worker is not None and workflow.name not in self._registry.workflows:
            warn_of_unknown(workflow.name, self._unknown)
        start.item = start_of(
            workflow,
            start.input,
            instance_id=start.instance_id,
            life=start.life,
            writer=self._access.nonce(),
            now=0,
        )
        self._writer.submit(start.item, start.answered)
