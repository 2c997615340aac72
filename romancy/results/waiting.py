"""Waits for the end of an instance, whichever worker runs it, or until no worker knows its workflow."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import nullcontext
from typing import TYPE_CHECKING, Final

from romancy._logs import get_logger
from romancy.attempt_context import entered_activity, gives_slot
from romancy.core import TERMINAL, State
from romancy.engine import Absence, history, others_may_try, refuse_to_wait, waits_in_vain
from romancy.engine.surroundings import here
from romancy.errors import InstanceNotFoundError, StorageUnavailableError, WorkflowStuckError, WorkflowUnknownError
from romancy.insight import alive
from romancy.log import commits_of
from romancy.managing.reasons import in_time, stuck_error
from romancy.status import TERMINAL_STATUSES, Status
from romancy.storage.services import Service

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from romancy._access import Access
    from romancy.core import LogEvent, RunEnd
    from romancy.results.watch import Watch
    from romancy.storage.protocol import Store
    from romancy.storage.records import InstanceRow

__all__ = ["EndWaits"]

logger = get_logger("romancy")

_PAUSE: Final = 0.5
_SILENT_FOR: Final = 5.0
"""Seconds of a wait after which a warning says that no worker knows the workflow. Shorter waits cost nothing."""


class EndWaits:
    """Waits for results on behalf of one app."""

    def __init__(self, access: Access, lease: int) -> None:
        self._access = access
        self._lease = lease / 1_000_000
        self._absence = Absence(lease)
        self._looked: dict[str, float] = {}
        """For each workflow, when a long wait has looked last whether a worker knows it. It looked for all waits."""
        self._told: set[str] = set()
        """The workflows of which a warning has said that no worker knows them."""

    async def end_within(self, instance_id: str, watch: Watch, timeout: float) -> RunEnd:
        """As `end_of`. Raises TimeoutError after so many seconds."""
        async with in_time(self._access, instance_id, timeout):
            return await self.end_of(instance_id, watch)

    async def end_of(self, instance_id: str, watch: Watch) -> RunEnd:
        """The outcome of the instance, once it has ended. Raises WorkflowStuckError if no worker continues it.

        The first life of the id that is seen is awaited. Raises InstanceNotFoundError once the id belongs to another
        life.
        """
        since, life = here().seconds(), 0
        inside = entered_activity() is not None
        while watch.outcome is None:
            store, loaded = self._access.opened(), self._life_here(instance_id)
            held = inside and waits_in_vain(store)
            if not held and loaded and life in (0, loaded) and watch.is_current(loaded):
                life = loaded
                await (watch.news() if gives_slot.get() is None else _heard(watch.news(), None))
                continue
            news = watch.news()
            try:
                life = await self._look(store, instance_id, life, watch, news, inside=inside, since=since)
            except StorageUnavailableError:
                self._access.opened()
                await _heard(news, _PAUSE)
            finally:
                news.cancel()
        if life not in (0, watch.life):
            raise _used_anew(instance_id)
        return watch.use()

    async def _look(
        self,
        store: Store,
        instance_id: str,
        life: int,
        watch: Watch,
        news: asyncio.Future[None],
        *,
        inside: bool,
        since: float,
    ) -> int:
        """Read the instance's state and wait for news. After a whole lease, check that a worker knows the workflow.

        `since`: when the wait began.

        Returns the instance's life, for the next look. `inside`: an activity asks.
        """
        found = await store.read(instance_id, limit=0)
        if found is None:
            raise InstanceNotFoundError(f"there is no instance {instance_id!r}")
        row = found.instance
        if watch.outcome is not None:
            return life
        if life not in (0, row.life):
            raise _used_anew(instance_id)
        if row.status in TERMINAL_STATUSES and (outcome := await _read_outcome(store, row)) is not None:
            watch.outcome, watch.life = outcome, row.life
            return row.life
        if inside:
            refuse_to_wait(store, "result")
        if row.status is Status.STUCK and not await others_may_try(store, row):
            raise await stuck_error(store, row)
        known = self._is_known_here(row.workflow_name)
        if not known and here().seconds() - since >= self._lease and await self._absence.is_over(store, row):
            raise self._nobody_knows(row)
        if not news.done():
            await self._hear(store, row, news, known=known, since=since)
        if self._access.worker is not None:
            await self._access.worker.caught_up(instance_id, row.life)
        return row.life

    async def _hear(
        self, store: Store, row: InstanceRow, news: asyncio.Future[None], *, known: bool, since: float
    ) -> None:
        """Wait for news, for half a lease. Where the wait becomes long, warn if no worker knows the workflow."""
        rest, long = self._lease / 2, since + _SILENT_FOR
        silent = max(long - here().seconds(), 0.0)
        if not known and silent <= rest and self._looked.get(row.workflow_name, 0.0) < long:
            await _heard(news, silent)
            if news.done():
                return
            if self._look_is_due(row.workflow_name):
                await self._say_if_nobody_knows(store, row)
            rest -= silent
        await _heard(news, rest)

    def _look_is_due(self, name: str) -> bool:
        """Whether no other of the callers, who often began together, has just looked."""
        now = here().seconds()
        if now - self._looked.get(name, -_SILENT_FOR) < _SILENT_FOR:
            return False
        self._looked[name] = now
        return True

    async def _say_if_nobody_knows(self, store: Store, row: InstanceRow) -> None:
        name, worker = row.workflow_name, self._access.worker
        if name in self._told or Service.READING not in store.services.offered:
            return
        if alive(await store.services.reading.census(), name) or name in self._told:
            return  # or another caller was told meanwhile
        self._told.add(name)
        remedy = "start one with `romancy run MODULE:APP`, or open this app without worker=False"
        if worker is not None:
            remedy = "this app's own does not: give it the workflow in workflows=[…], declared before the app is opened"
        logger.warning(
            "instance %s: its result has been awaited for %g s, and no live worker knows workflow %s; %s. "
            "The wait goes on, and this is said once",
            row.instance_id, _SILENT_FOR, name, remedy,
        )  # fmt: skip

    def _life_here(self, instance_id: str) -> int:
        """The life of the instance that this app's worker holds; 0 if it holds none."""
        worker = self._access.worker
        live = None if worker is None else worker.driver.live.get(instance_id)
        return 0 if live is None else live.life

    def _is_known_here(self, name: str) -> bool:
        worker = self._access.worker
        return worker is not None and not worker.draining and name in worker.registry.workflows

    def _nobody_knows(self, row: InstanceRow) -> WorkflowStuckError:
        worker, name = self._access.worker, row.workflow_name
        reason = f"no live worker has known workflow {name} for two leases ({2 * self._lease:g} s)"
        said = f"instance {row.instance_id} does not continue: {reason}"
        if worker is not None and name not in worker.registry.workflows:
            return WorkflowUnknownError(
                f"{said}, and this app's own does not: give it the workflow in workflows=[…], and declare it before "
                "the app is opened. "
                "The instance is kept, and a worker that knows it continues it",
                instance_id=row.instance_id,
                reason=reason,
            )
        return WorkflowStuckError(
            f"{said}. The instance is kept: start a worker that knows the workflow, with `romancy run MODULE:APP`, "
            "and wait for the result again",
            instance_id=row.instance_id,
            reason=reason,
        )


async def _heard(news: asyncio.Future[None], seconds: float | None) -> None:
    """Wait for news, so long at most. An attempt for a body gives its slot back meanwhile."""
    with (gives_slot.get() or nullcontext)():
        await asyncio.wait([news], timeout=seconds)


def _used_anew(instance_id: str) -> InstanceNotFoundError:
    return InstanceNotFoundError(
        f"the instance {instance_id!r} that was waited for was removed, and its id is used again; ask again for the "
        "result of the new one"
    )


async def _read_outcome(store: Store, row: InstanceRow) -> RunEnd | None:
    """The outcome of the instance, if its log tells how it ended. Raises InstanceNotFoundError."""
    instance_id = row.instance_id
    end = await store.read(instance_id, after=row.last_seq - 1, limit=1)
    if end is None or end.instance.life != row.life:
        raise InstanceNotFoundError(f"instance {instance_id!r} was just removed")
    state = _ended_in([commit for _, commit in commits_of(end, row.last_seq - 1)])
    if state.terminal is None:  # nearly always the last commit holds the end; else read the whole run
        commits = history(store, instance_id, after=row.run_from - 1, life=row.life)
        state = _ended_in([commit async for _, commit in commits])
    return state.outcome()


def _ended_in(commits: Iterable[Sequence[LogEvent]]) -> State:
    state = State()
    for event in itertools.chain.from_iterable(commits):
        if isinstance(event, TERMINAL):
            state.terminal = event
    return state
