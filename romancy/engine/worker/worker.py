"""The worker: wires its parts, opens and closes it, and handles refused appends."""

from __future__ import annotations

import asyncio
from functools import partial
from itertools import starmap
from typing import TYPE_CHECKING, Final

from romancy._logs import about, get_logger, hush, speaking, unhush
from romancy.engine.activities.session_commits import commit_session
from romancy.engine.around_bodies import around_bodies
from romancy.engine.clock import DatabaseClock
from romancy.engine.driver import Driver
from romancy.engine.incarnation import Incarnation
from romancy.engine.joining import Joining
from romancy.engine.line_keeper import keeper_of
from romancy.engine.log_lines import say_end, say_interrupted, say_refused, say_stuck
from romancy.engine.log_writer import LogWriter
from romancy.engine.observer import Observer
from romancy.engine.outage import Outage
from romancy.engine.slot import FREE, GONE
from romancy.engine.unwritten import Unwritten
from romancy.engine.worker.backlog import Backlog
from romancy.engine.worker.claims import Claiming
from romancy.engine.worker.handing_over import HandingOver, is_untouched
from romancy.engine.worker.held_starts import HeldStarts
from romancy.engine.worker.intake import Intake
from romancy.engine.worker.known_workflows import draining_told, names_told, release_told, retains_told, room_told
from romancy.engine.worker.lease import Leases
from romancy.engine.worker.lease_keeper import LeaseKeeper
from romancy.engine.worker.next_claim import NextClaim
from romancy.engine.worker.orphans import make_way
from romancy.engine.worker.quarantine import Quarantine
from romancy.engine.worker.recovery import Recovery, Rewinds, claimed_again
from romancy.engine.worker.resting import Resting
from romancy.engine.worker.retrying import Revivals
from romancy.engine.worker.rewinding import Rewinding
from romancy.engine.worker.starts import Starts
from romancy.engine.worker.stock import Stock
from romancy.engine.worker.tasks import Tasks
from romancy.engine.worker.told_to_drain import ToldToDrain
from romancy.engine.worker.watchdog import Watchdog, watching
from romancy.errors import DatabaseReplacedError, StorageUnavailableError
from romancy.storage.notices import notices_in
from romancy.storage.records import Append, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from romancy.core import Activation
    from romancy.depends import Dependencies
    from romancy.engine.activities.port import Port
    from romancy.engine.answers import Answers
    from romancy.engine.dispatcher import Dispatcher
    from romancy.engine.instance import Live
    from romancy.engine.pending_append import PendingAppend
    from romancy.engine.settings import Settings
    from romancy.errors import RomancyError
    from romancy.registry import Registry
    from romancy.storage.journal import NewLine
    from romancy.storage.protocol import Store
    from romancy.storage.records import Item, Peer
    from romancy.stream_rows import StreamRow

__all__ = ["Worker"]

logger = get_logger("romancy.engine")

_LONGEST_GOODBYE: Final = 5.0
_A_MOMENT: Final = 0.01
_AT_ONCE: Final = 10
"""How many ids of children are looked for beside each other."""
_BETWEEN_RELEASES: Final = 0.05
"""Seconds between two looks of a draining worker at what can be released."""


class Worker:
    """One worker on one store, through all its incarnations.

    Its parts are made in the order in which they call each other. `LeaseKeeper` and `Driver` report to it, by the
    protocols `LeaseHolder` and `Reports`.
    """

    _trials: asyncio.Task[None] | None = None
    _watchdog: Watchdog | None = None

    def __init__(
        self,
        store: Store,
        registry: Registry,
        settings: Settings,
        *,
        dependencies: Dependencies,
        dispatcher: Dispatcher,
        ended: Callable[[str, int, Activation | None], None],
        answers: Answers,
        rewinds: Rewinds,
        another: Callable[[], Store] | None = None,
    ) -> None:
        self.store = store
        self.registry = registry
        self.clock = settings.clock or DatabaseClock()
        self._settings = settings
        self._codes = {name: workflow.code for name, workflow in registry.workflows.items()}
        self._release = registry.release
        self._incarnation = Incarnation(clock=self.clock)
        self._keeper = keeper_of(store, settings.keep_logs, settings.worker_id, self.clock)
        settings.speaker.keeper = self._keeper
        settings.speaker.around = around_bodies(settings.hooks, self.clock, settings.worker_id)
        self._ended, self._answers = ended, answers
        self.tasks = Tasks()
        self._next_claim = NextClaim()
        outage = Outage()
        self.beating = LeaseKeeper(store, self._incarnation, self._next_claim, self, outage)
        self._observer = Observer(settings.hooks, self.clock, settings.worker_id) if settings.hooks else None
        timed = None if self._observer is None else self._observer.timed
        self.writer = LogWriter(store, self._incarnation, timed=timed, outage=outage)
        self.driver = self._new_driver(dependencies, dispatcher)
        self._resting = Resting(settings.sticky)
        self._recovery = Recovery(store, self.driver, self._resting, self._next_claim, parked=ended, rewinds=rewinds)
        self._rewinding = Rewinding(self.driver, self._recovery, self.tasks.spawn)
        self._quarantine = Quarantine(
            store, self.driver, self._recovery, self.beating, self._next_claim, patience=settings.lease / 1_000_000
        )
        self.stock = Stock(self.driver, registry, self.beating, lambda: self._intake.beside)
        self.held = HeldStarts(store, self.driver, lambda: self.beating, self._next_claim, self.tasks)
        self.told_to_drain = ToldToDrain(store, self.driver, lambda: self.beating, self.tasks)
        gives_places = store.capabilities.gives_places
        self.starts = Starts(self.driver, settings, self.beating, self.stock, gives_places=gives_places, held=self.held)
        bereft: dict[str, int] = {}
        self._intake = self._new_intake(bereft)
        self._handing_over = HandingOver(store, self.driver, self.stock, self.beating, bereft)
        self.claiming = self._new_claiming()
        self._another, self.draining = another, False
        self._committing: set[asyncio.Task[None]] = set()
        self._in_sessions: dict[str, Item] = {}
        """The appends that sessions commit, by instance."""
        self.failed: RomancyError | None = None
        """The error for which this worker stopped for good."""

    @property
    def leases(self) -> Leases:
        """The leases of the present incarnation."""
        return self.beating.leases

    async def caught_up(self, instance_id: str, life: int) -> None:
        """After news of an instance that rests here: return when the claim which the news asked for was answered.

        Usually this worker has the instance then. Of other instances the news is all that is to come.
        """
        if self._resting.life_of(instance_id) == life:
            await self.claiming.answered()

    def _appending(self) -> dict[str, Item]:
        """The appends under way, by instance. One that was dropped may still get it into its log."""
        return self.writer.under_way() | self._in_sessions

    def _new_driver(self, dependencies: Dependencies, dispatcher: Dispatcher) -> Driver:
        return Driver(
            self.store,
            self.registry,
            self._settings,
            incarnation=self._incarnation,
            writer=self.writer,
            dispatcher=dispatcher,
            dependencies=dependencies,
            keeper=self.beating,
            joining=Joining(self.store, self.tasks.spawn),
            revivals=Revivals(self.store, self.beating, self.tasks, self._next_claim),
            observer=self._observer,
            reports=self,
        )

    def _new_intake(self, bereft: dict[str, int]) -> Intake:
        return Intake(
            self.driver,
            self._recovery,
            self._quarantine,
            self._next_claim,
            starting=self.starts.under_way,
            appending=self._appending,
            bereft=bereft,
            held=self.held,
        )

    def _new_claiming(self) -> Claiming:
        return Claiming(
            self.store,
            self.clock,
            self.driver,
            self._intake,
            keeper=self.beating,
            next_claim=self._next_claim,
            backlog=Backlog(self.stock, self.clock, self._codes),
            max_live=self._settings.max_live,
            handing_over=self._handing_over,
            pin=self._settings.pin,
        )

    # ── life ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def open(self) -> None:
        """Register, take over from workers that are certainly dead, and begin to work.

        Raises UsageError when a worker with the same chosen id is at work.
        """
        hush(self._settings.speaker)
        with speaking(self._settings.speaker):  # for the log lines of everything that begins here
            await self.beating.begin()
            if self._keeper is not None:
                self._keeper.begin()
                self.tasks.last(self._keeper.run())
            self.tasks.last(self.writer.run())
            self.tasks.last(self.beating.run())
            self.tasks.last(self.claiming.run())
            self.tasks.last(self._handing_over.run())
            self._trials = asyncio.get_running_loop().create_task(self._quarantine.run())
            self._trials.add_done_callback(self.tasks.done)
            patience, lease = self._settings.warn_when_blocked, self._settings.lease / 1_000_000
            self._watchdog = watching(patience, self._another, self.beating, lease)
            self._next_claim.look()
            logger.info("worker %s is at work; workflows: %d", self._settings.worker_id, len(self._codes))

    async def drain(self, grace: float) -> None:
        """Claim and begin nothing more, let attempts end within `grace` seconds, and release every instance."""
        self.draining = True
        await self._end_trials()
        self.driver.attempts.hold()
        self.claiming.only_mail()
        if not await self._let_attempts_end(grace):
            say_interrupted(self.driver.attempts.running, grace)
        for live in list(self.driver.live.values()):
            self.driver.attempts.stop_all(live)
        await asyncio.sleep(0)  # ended attempts are fed
        if self._committing:
            await asyncio.wait(self._committing, timeout=_LONGEST_GOODBYE)
        await self._within_goodbye(self._give_everything_back())
        self.claiming.stop()
        await self._within_goodbye(self.claiming.stopped())
        await self._within_goodbye(self._give_everything_back())

    async def _let_attempts_end(self, grace: float) -> bool:
        """Let running attempts end. Meanwhile release what does not run: others continue it at once."""
        loop = asyncio.get_running_loop()
        until = loop.time() + grace
        while True:
            for live in list(self.driver.live.values()):
                if is_untouched(live, self.driver.attempts):
                    self.driver.release(live, unfinished=True)
            left = until - loop.time()
            if await self.driver.attempts.all_ended(max(0.0, min(left, _BETWEEN_RELEASES))):
                return True
            if left <= 0:
                return False

    async def _end_trials(self) -> None:
        if self._trials is not None:
            self._trials.cancel()
            await asyncio.gather(self._trials, return_exceptions=True)

    async def _give_everything_back(self) -> None:
        """Release every instance. One that was about to end with unread mail is taken up again, reads it, and ends."""
        while True:
            await self.writer.flushed()
            for live in list(self.driver.live.values()):
                self.driver.release(live, unfinished=True)
            await self.writer.flushed()
            if not self.driver.live and (self._intake.is_idle or self.claiming.has_stopped):
                return
            await asyncio.sleep(_A_MOMENT)

    async def _within_goodbye(self, work: Coroutine[Any, Any, object]) -> None:
        if self.tasks.interrupted:
            work.close()  # it cannot be run: the tasks that write and claim have ended
        elif not await self._within(work, _LONGEST_GOODBYE):
            logger.warning("the database does not answer during shutdown; others take over when the lease expires")

    async def _within(self, work: Coroutine[Any, Any, object], seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await work
        except TimeoutError:
            return False
        return True

    async def close(self, grace: float = 0.0) -> None:
        """Drain, and leave."""
        await self.drain(grace)
        await self.abandon()
        if self._keeper is not None:
            await self._within(self._keeper.flushed(), _LONGEST_GOODBYE)
        try:
            async with asyncio.timeout(_LONGEST_GOODBYE):
                await self.leases.leave()
        except (StorageUnavailableError, DatabaseReplacedError, TimeoutError) as error:
            logger.warning("could not mark this worker as gone in the database: %s", error)
        unhush(self._settings.speaker)

    async def abandon(self) -> None:
        """Stop at once and release nothing, like a killed process."""
        for live in list(self.driver.live.values()):
            self.driver.drop(live)
        if self._watchdog is not None:
            self._watchdog.stop()
        self.beating.stop()
        self._resting.close()
        await asyncio.gather(self.tasks.cancel(), self._end_trials())
        await self._within(self.driver.ports.given_up(), _LONGEST_GOODBYE)
        if self._observer is not None:
            self._observer.flush()
        self.driver.attempts.close()
        if self._keeper is not None:
            self._keeper.end()

    # ── the lease ───────────────────────────────────────────────────────────────────────────────────────────────

    def lease_renewed(self) -> None:
        """`LeaseHolder`: begin the attempts that waited for it."""
        self.driver.attempts.resume()
        self._handing_over.look()
        if self.draining and not self.driver.live:
            self.leases.hurries = False

    def took_over(self) -> None:
        """`LeaseHolder`: do the dispatches that the dead worker has not done after its last commits."""
        self.driver.dispatcher.sweep()

    def lease_lapsed(self) -> None:
        """`LeaseHolder`: drop everything."""
        logger.error(
            "no heartbeat for %g s: the lease has expired and others may continue the %d instances of this worker; "
            "it stops what runs, drops them, and claims again when the database answers",
            self._settings.lease / 1_000_000,
            len(self.driver.live),
        )
        self._lost_lease()

    def reborn(self) -> None:
        """`LeaseHolder`: claim what is still owned."""
        self.tasks.spawn(self._look_for_own_once_written())

    async def _look_for_own_once_written(self) -> None:
        """Let the appends in flight reach the log before it is read, then claim everything this worker owns."""
        await self._within(self.writer.flushed(), self._settings.lease / 1_000_000)
        self._next_claim.look_for_own()

    def declared_dead(self) -> None:
        """`LeaseHolder`: drop everything."""
        logger.error("this worker was declared dead: it drops its %d instances", len(self.driver.live))
        self._lost_lease(known=self.beating.has_lapsed)

    def _lost_lease(self, *, known: bool = False) -> None:
        if self._observer is not None and not known:
            self._observer.lease_lost()
        self._drop_everything()

    def gave_up(self, reason: RomancyError) -> None:
        """`LeaseHolder`: stop for good."""
        logger.critical("%s", reason)
        self.failed = reason
        self.draining = True
        self.claiming.stop()
        self._drop_everything()

    def _drop_everything(self) -> None:
        appending = self._appending()
        for live in list(self.driver.live.values()):
            self.driver.drop(live, appending.get(live.instance_id))
        self._intake.forget()

    def new_leases(self) -> Leases:
        """`LeaseHolder`: those of the next incarnation."""
        leases = Leases(
            self.store,
            self.clock,
            worker_id=self._settings.worker_id,
            lease=self._settings.lease,
            codes=(
                *self._codes.values(),
                *names_told(self._codes),
                *retains_told(self._settings.retains),
                *release_told(self._release),
            ),
            named=self._settings.named,
            exclusive=self.store.capabilities.sessions_exclude,
            room=self._room_to_tell,
            suspects=self._suspects_to_tell,
            heeds=self._heed,
        )
        self._incarnation.begins_anew(leases.token)
        return leases

    def _heed(self, rows: list[Peer]) -> None:
        """Begin nothing that these notices name."""
        notices = notices_in(rows)
        self.driver.attempts.pause(one.name for one in notices if one.kind == "activity")
        self.held.heed(notices)
        self.told_to_drain.heed(notices)

    def _room_to_tell(self) -> str:
        """What the next heartbeat tells peers of this worker's room."""
        return room_told([] if self.draining else self.stock.told())

    def _suspects_to_tell(self) -> list[str]:
        """What the next heartbeat tells of the suspects of this worker, and how far it has drained."""
        tells = self._quarantine.tells()
        if self.draining:
            tells += draining_told(self.driver.attempts.running, len(self.driver.live))
        return tells

    # ── what the driver reports ─────────────────────────────────────────────────────────────────────────────────

    def finished(self, live: Live, activation: Activation) -> None:
        """`Reports`: keep the run of a resting instance, and tell those who wait for an end."""
        if activation.events:
            self.stock.left[live.definition.name] += 1
        if activation.events and activation.outcome is None and activation.parked is None:
            self._resting.keep(live)
            if live.run.state.undoing is not None:
                self._next_claim.look()  # it is due at once, to be rewound
        else:
            live.run.close()
        if activation.outcome is not None:
            self.claiming.ended_here(live.instance_id)
            say_end(live, activation.outcome)
        elif activation.parked is not None:
            say_stuck(live, activation.parked)
        self._ended(live.instance_id, live.life, activation)

    def answered(self, live: Live) -> None:
        """`Reports`: wake those who wait for an answer."""
        self._answers.tell(live.instance_id)

    def streamed(self, line: NewLine, row: StreamRow, before: int, number: int) -> None:
        """`Reports`: give it to those who follow the stream here."""
        self._answers.streamed(line, row, before, number)

    def dropped(self, live: Live) -> None:
        """`Reports`: let those who wait for its end look again. The news of it may have come while it was loaded."""
        self._ended(live.instance_id, live.life, None)

    def lacks_mail(self, live: Live) -> None:
        """`Reports`."""
        self._intake.reads_again(live)
        self._next_claim.look()

    def lost(self, prepared: PendingAppend, outcome: Outcome) -> None:
        """`Reports`: take the instance back to its log, unless another worker has it."""
        live = prepared.live
        if outcome is Outcome.UNSEEN:
            self._rewinding.go_back(prepared.unwritten(), first=lambda: self._until_mail_is_read(prepared))
        elif outcome is Outcome.EXISTS:
            find = partial(self._find_taken_children, live, _children_in(prepared))
            self._rewinding.go_back(prepared.unwritten(), first=find)
        elif outcome is Outcome.INVALID:
            error = self.writer.refusal(live.instance_id)
            reason = f"its commit cannot be written: {type(error).__name__}: {error}"
            self._rewinding.park(prepared.unwritten(), reason)
        else:
            self.driver.drop(live, prepared.item)
            say_refused(live, outcome)
            self._next_claim.look_for_own()

    async def _until_mail_is_read(self, refused: PendingAppend) -> None:
        """Let claims bring the mail for which the end of the instance was refused: it cannot end earlier.

        If another has ended the instance, no claim brings it. Its log tells that to who reads it next.
        """
        live, change = refused.live, refused.item.change if isinstance(refused.item, Append) else None
        if change is None or live.signals != change.seen:
            return
        self._intake.reads_again(live)
        pause = _A_MOMENT
        while live.slot is not GONE and not self.claiming.has_stopped:
            self._next_claim.look()
            await self.claiming.answered()
            if self._intake.has_read(live) or not await self._is_here(live):
                return
            await asyncio.sleep(pause)  # the claim has failed, or mail of others went first
            pause = min(2 * pause, 1.0)

    async def _is_here(self, live: Live) -> bool:
        """Whether this worker still owns this life of the instance. No claim brings it mail of another one."""
        found = await self.store.read(live.instance_id, limit=0)
        return found is not None and (found.instance.life, found.instance.owner) == (live.life, self.leases.token)

    async def _find_taken_children(self, live: Live, left: list[tuple[str, str]]) -> None:
        """Find the children that cannot be started: they will be refused to the run that asks for them.

        `left`: which ones were not looked at yet, by id and workflow. They may be many, and any read may fail: what
        others have found is kept then. One by one, they would take longer than an instance stays here at bad times.
        """

        async def look(child_id: str, workflow_name: str) -> None:
            asks = live.instance_id, live.life
            if (why := await make_way(self.store, child_id, workflow_name, asks=asks)) is not None:
                live.refuses(child_id, why)
            left.remove((child_id, workflow_name))

        while left:
            for end in await asyncio.gather(*starmap(look, left[:_AT_ONCE]), return_exceptions=True):
                if end is not None:
                    raise end

    def broken(self, live: Live, error: Exception, unwritten: Unwritten | None = None) -> None:
        """`Reports`: record what happened, if that can be done, and park the instance."""
        reason = f"unexpected {type(error).__name__} while driving: {error}"
        if unwritten is None and live.slot is FREE:
            unwritten = Unwritten(live)
        if unwritten is None:
            self._recovery.park(claimed_again(live), reason, cause=error, loaded=live)
        else:
            self._rewinding.park(unwritten, reason, cause=error)

    def goes_back(self, unwritten: Unwritten) -> None:
        """`Reports`: put a run that has followed the log in the place of this one."""
        self._rewinding.go_back(unwritten)

    def in_session(self, prepared: PendingAppend, port: Port) -> None:
        """`Reports`: commit in the session, and settle the outcome."""
        self._in_sessions[prepared.item.instance_id] = prepared.item
        self.tasks.spawn(self._commit_in_session(prepared, port), self._committing)

    async def _commit_in_session(self, prepared: PendingAppend, port: Port) -> None:
        (event, _), item = prepared.inputs[0], prepared.item
        try:
            outcome, instead = await commit_session(
                self.store, self.writer, port, item, event, worker=self.leases.token, incarnation=self._incarnation
            )
        except Exception:
            logger.exception("instance %s: its session's commit failed", item.instance_id, extra=about(prepared.live))
            outcome, instead = None, None
        finally:
            self._in_sessions.pop(item.instance_id, None)
        if outcome is not None:
            self.driver.attempts.patience.succeeded()
            self.driver.settle(prepared, outcome)
            return
        if instead is None:
            await asyncio.sleep(self.driver.attempts.patience.lost())
        if prepared.live.slot is not GONE:
            self._rewinding.go_back(prepared.unwritten(), instead=instead)


def _children_in(refused: PendingAppend) -> list[tuple[str, str]]:
    """The children that an append starts, by id and workflow."""
    starts = refused.item.starts if isinstance(refused.item, Append) else ()
    return [(one.instance_id, one.create.workflow_name) for one in starts if one.create is not None]
