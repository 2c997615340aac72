"""The worker: finds work, keeps its lease, brings instances back from their logs, and lets them go."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from msgspec import Raw

from romancy.engine._alarms import Alarms
from romancy.engine._attempts import Attempts
from romancy.engine._clock import DatabaseClock
from romancy.engine._driver import Driver, Prepared
from romancy.engine._intake import Intake, claimed_again
from romancy.engine._leases import Leases
from romancy.engine._live import Live, new_life, owner_changed, start_of
from romancy.engine._loading import resumption
from romancy.engine._log_writer import LogWriter
from romancy.engine._quarantine import Quarantine
from romancy.engine._session_commits import commit_session
from romancy.engine._starting import begin
from romancy.errors import StorageUnavailableError, UsageError
from romancy.storage.records import Append, ClaimRequest, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from typing import Any

    from romancy.core import Activation
    from romancy.depends import Dependencies
    from romancy.engine._driver import Given
    from romancy.engine._port import Port
    from romancy.engine._starting import Begun
    from romancy.registry import Registry
    from romancy.retry import RetryPolicy
    from romancy.storage.protocol import Store
    from romancy.workflow import Workflow

__all__ = ["Settings", "Worker"]

logger = logging.getLogger("romancy.engine")

_CLAIM: Final = 100
_PAUSE: Final = 0.5
_ECHO: Final = 0.25
_SWEEP_EVERY: Final = 30.0
_ENDS_REMEMBERED: Final = 10_000
_LOOK_FOR_CORPSES_EVERY: Final = 1.0
_A_LITTLE: Final = 0.01
_LONGEST_GOODBYE: Final = 5.0


class Settings:
    """What the user chose."""

    def __init__(
        self, *, worker_id: str | None, lease: float, retry: RetryPolicy | None, max_activities: int, max_live: int
    ) -> None:
        self.worker_id = worker_id or f"{socket.gethostname()}:{os.getpid()}"
        self.named = worker_id is not None
        self.lease = round(lease * 1_000_000)
        self.retry = retry
        self.max_activities = max_activities
        self.max_live = max_live


class Worker:
    """One incarnation of a worker on one store."""

    def __init__(
        self,
        store: Store,
        registry: Registry,
        settings: Settings,
        *,
        dependencies: Dependencies,
        ended: Callable[[str, Activation], None],
    ) -> None:
        self.store = store
        self.registry = registry
        self.clock = DatabaseClock()
        self._settings = settings
        self._codes = {name: workflow.code for name, workflow in registry.workflows.items()}
        self.leases = self._new_leases()
        self._numbers = itertools.count(1)
        self._ended = ended
        self.writer = LogWriter(store, lambda: self.leases.token)
        self.driver = Driver(
            registry=registry,
            clock=self.clock,
            writer=self.writer,
            alarms=Alarms(self.clock),
            stamp=self.stamp,
            nonce=self.nonce,
            finished=self._finished,
            lost=self._lost,
            broken=self._broken,
            in_session=self._in_session,
        )
        self._pool = ThreadPoolExecutor(thread_name_prefix="romancy-activity")
        self.driver.attempts = self._new_attempts(dependencies)
        self._intake = Intake(store, self.driver, nonce=self.nonce, recover=self._look_for_own)
        self._quarantine = self._intake.quarantine = Quarantine(
            store,
            self.driver,
            self._intake,
            nonce=self.nonce,
            token=lambda: self.leases.token,
            patience=settings.lease / 1_000_000,
            done=self.look,
        )
        self._trials: asyncio.Task[None] | None = None
        self._look = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._committing: set[asyncio.Task[None]] = set()
        self._recover = False
        self._swept = -_SWEEP_EVERY
        self._next_look: asyncio.TimerHandle | None = None
        self._ended_here: dict[str, None] = {}
        self.draining = False
        self._no_more_claims = asyncio.Event()
        self.failed: UsageError | None = None
        """Why this worker gave up for good."""

    def _new_attempts(self, dependencies: Dependencies) -> Attempts:
        return Attempts(
            self.store,
            self.clock,
            pool=self._pool,
            dependencies=dependencies,
            retry=self._settings.retry,
            stamp=self.stamp,
            fresh=self.is_alive,
            limit=self._settings.max_activities,
            ended=self.driver.ended,
        )

    def is_alive(self) -> bool:
        """Whether nobody can have declared this incarnation dead; it changes with its lease."""
        return self.leases.fresh()

    def nonce(self) -> str:
        """A mark that no other append bears."""
        return f"{self.leases.token}.{next(self._numbers)}"

    def stamp(self) -> str:
        """An id for a message; those of one worker sort in the order they were made."""
        return f"{self.clock.now():016x}{next(self._numbers):08x}{self.leases.token}"

    # ── life ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def open(self) -> None:
        """Register, take over what the dead left behind on this machine, and begin to work.

        Raises UsageError when a worker of the same chosen id is at work.
        """
        await self.leases.beat()
        self._check_rival()
        if self.failed is not None:
            await self.leases.beat(leaving=True)
            raise self.failed
        await self._take_over()
        self._spawn(self.writer.run())
        self._spawn(self._beat_forever())
        self._spawn(self._claim_forever())
        self._trials = asyncio.get_running_loop().create_task(self._quarantine.run())
        self.look()

    async def drain(self, grace: float) -> None:
        """Claim and begin nothing more, let what runs end within `grace` seconds, and give every instance back."""
        self.draining = True
        if self._trials is not None:
            self._trials.cancel()
            await asyncio.gather(self._trials, return_exceptions=True)
        self.driver.attempts.hold()
        self.look()
        await self._within_goodbye(self._no_more_claims.wait())
        if not await self.driver.attempts.all_ended(grace):
            logger.warning("activities still run after %.0f s: they are cancelled and begin again elsewhere", grace)
        for live in list(self.driver.live.values()):
            self.driver.attempts.drop(live)
        if self._committing:
            await asyncio.wait(self._committing, timeout=_LONGEST_GOODBYE)
        await self._within_goodbye(self.writer.flushed())
        for live in list(self.driver.live.values()):
            self.driver.give_back(live)
        await self._within_goodbye(self.writer.flushed())

    async def _within_goodbye(self, work: Coroutine[Any, Any, object]) -> None:
        try:
            async with asyncio.timeout(_LONGEST_GOODBYE):
                await work
        except TimeoutError:
            logger.warning("the database does not answer: what is not given back will be taken over")

    async def close(self, grace: float = 0.0) -> None:
        """Drain, and leave."""
        await self.drain(grace)
        for live in list(self.driver.live.values()):
            self.driver.drop(live)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._pool.shutdown(wait=False, cancel_futures=True)
        self.driver.attempts.processes.close()
        try:
            async with asyncio.timeout(_LONGEST_GOODBYE):
                await self.leases.beat(leaving=True)
        except (StorageUnavailableError, TimeoutError) as error:
            logger.warning("could not say goodbye to the database: %s", error)

    def _spawn(self, work: Coroutine[Any, Any, None], *sets: set[asyncio.Task[None]]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        for tasks in (self._tasks, *sets):
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        task.add_done_callback(self._task_done)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            logger.critical("a part of the worker stopped", exc_info=task.exception())

    # ── the lease ───────────────────────────────────────────────────────────────────────────────────────────────

    async def _beat_forever(self) -> None:
        silent = 0.0
        while True:
            tick = min(_LOOK_FOR_CORPSES_EVERY, self.leases.interval)
            pause = min(tick, self.leases.next_expiry() + _A_LITTLE)
            await asyncio.sleep(pause)
            silent += pause
            if silent < self.leases.interval and pause == tick and not self.leases.lost():
                continue
            try:
                await self._beat()
                silent = 0.0
            except StorageUnavailableError as error:
                logger.warning("no heartbeat: %s", error)
                silent = self.leases.interval
            except Exception:
                logger.exception("no heartbeat")

    async def _beat(self) -> None:
        """Show that this worker lives, and take over from those that do not."""
        if not await self.leases.beat():
            self._drop_everything()
            await self.leases.beat()
            self._look_for_own()
        self._check_rival()
        if self.failed is not None:
            logger.critical("%s", self.failed)
            self.draining = True
            self._drop_everything()
            return
        self.driver.attempts.resume()
        await self._take_over()

    def _check_rival(self) -> None:
        rival = self.leases.rival()
        if rival is not None:
            self.failed = UsageError(
                f"a worker with the id {rival.worker_id!r} is at work on this database already: give each worker an "
                "id of its own, or none"
            )

    async def _take_over(self) -> None:
        for peer in self.leases.lost():
            body = owner_changed(self.clock.now(), self.leases.token, "")
            while True:
                answer = await self.store.takeover(self.leases.token, peer, body, self.nonce())
                if answer.moved:
                    logger.info("took over %d instances of worker %s", len(answer.moved), peer.worker_id)
                if answer.refused or not answer.left or not answer.moved:
                    break
            self.look()

    def _drop_everything(self) -> None:
        logger.error("this worker was declared dead: it drops its %d instances", len(self.driver.live))
        for live in list(self.driver.live.values()):
            self.driver.drop(live)
        self._intake.forget()
        self.leases = self._new_leases()

    def _new_leases(self) -> Leases:
        return Leases(
            self.store,
            self.clock,
            worker_id=self._settings.worker_id,
            lease=self._settings.lease,
            codes=tuple(self._codes.values()),
            named=self._settings.named,
        )

    # ── finding work ────────────────────────────────────────────────────────────────────────────────────────────

    def look(self) -> None:
        """There may be work: claim soon."""
        self._look.set()

    def notice(self, changed: frozenset[str] | None) -> None:
        """The store says that these instances changed (None: any). Those that ended here are hardly news."""
        if changed is None or not changed <= self._ended_here.keys():
            self.look()
        elif changed:
            # Most likely only our own echo; but somebody may have tried one of them again, or used its id anew.
            self._look_in(_ECHO)

    async def _claim_forever(self) -> None:
        while True:
            await self._look.wait()
            self._look.clear()
            if self.draining:
                self._no_more_claims.set()
                return
            if self._next_look is not None:
                self._next_look.cancel()
                self._next_look = None
            try:
                await self._claim()
            except StorageUnavailableError as error:
                logger.warning("cannot claim: %s", error)
                self._look_for_own()
            except Exception:
                logger.exception("cannot claim")
                self._look_for_own()

    async def _claim(self) -> None:
        now = asyncio.get_running_loop().time()
        room = 0 if self._quarantine.busy else self._settings.max_live - len(self.driver.live)
        sweep = now - self._swept >= _SWEEP_EVERY
        request = ClaimRequest(
            worker=self.leases.token,
            codes=self._codes,
            limit=max(0, min(_CLAIM, room)),
            sweep=sweep,
            recover=self._recover,
        )
        self._recover = False
        work = await self.store.claim(request)
        self._swept = now if sweep else self._swept
        await self._intake.take_in(work)
        if len(work.claimed) >= request.limit > 0:
            self.look()
        wait = _SWEEP_EVERY if work.next_due is None else self.clock.seconds_until(work.next_due)
        self._look_in(min(wait, _SWEEP_EVERY))

    def _look_in(self, seconds: float) -> None:
        """Claim in so many seconds at the latest; what was to happen earlier still does."""
        loop = asyncio.get_running_loop()
        if self._next_look is not None:
            if self._next_look.when() <= loop.time() + seconds:
                return
            self._next_look.cancel()
        self._next_look = loop.call_later(seconds, self.look)

    # ── what the driver tells ───────────────────────────────────────────────────────────────────────────────────

    def _finished(self, live: Live, activation: Activation) -> None:
        live.run.close()
        self._tell_end(live.instance_id, activation)

    def _tell_end(self, instance_id: str, activation: Activation) -> None:
        if activation.outcome is not None:
            self._ended_here[instance_id] = None
            if len(self._ended_here) > _ENDS_REMEMBERED:
                del self._ended_here[next(iter(self._ended_here))]
        self._ended(instance_id, activation)

    def _lost(self, prepared: Prepared, outcome: Outcome) -> None:
        """An append was refused: drop the run, and bring it back if it is still ours."""
        live, inputs = prepared.live, prepared.inputs
        self.driver.drop(live)
        if prepared.session is not None:
            inputs = ()  # what the session held was rolled back with it: the attempt is made again
        if outcome is Outcome.UNSEEN:
            self.driver.keep_ports(inputs, prepared.ports if inputs else {})
            self._intake.after_mail(live, inputs)
            self.look()
        elif outcome is Outcome.EXISTS:
            self.driver.keep_ports(inputs, prepared.ports if inputs else {})
            self._spawn(self._without_taken_children(prepared, inputs))
        elif outcome is Outcome.INVALID:
            self._intake.park(claimed_again(live), self.writer.why_refused(prepared.item))
        else:
            logger.warning("instance %s: append refused (%s); another worker has it", live.instance_id, outcome)
            self._look_for_own()

    async def _without_taken_children(self, prepared: Prepared, inputs: Sequence[Given]) -> None:
        """Find out which children cannot be started, and let the run hear of it where it asked for them."""
        assert isinstance(prepared.item, Append)  # noqa: S101 - nothing else has children
        try:
            for start in prepared.item.starts:
                if await self.store.read(start.instance_id, limit=0) is not None:
                    self.driver.taken.add(start.instance_id)
        except StorageUnavailableError:
            self._look_for_own()
            return
        await self._intake.take_up(claimed_again(prepared.live), inputs)

    def _broken(self, live: Live, error: Exception) -> None:
        self.driver.drop(live)
        self._intake.park(claimed_again(live), f"its run broke: {type(error).__name__}: {error}")

    def _look_for_own(self) -> None:
        """Something of ours may have escaped us: ask for everything we own, soon."""
        self._recover = True
        self._look_in(_PAUSE)

    def _in_session(self, prepared: Prepared, port: Port) -> None:
        self._spawn(self._commit_in_session(prepared, port), self._committing)

    async def _commit_in_session(self, prepared: Prepared, port: Port) -> None:
        (event, _), item = prepared.inputs[0], prepared.item
        assert isinstance(item, Append)  # noqa: S101 - only appends carry sessions
        try:
            outcome, instead = await commit_session(
                self.store,
                self.writer,
                port,
                item,
                event,
                worker=self.leases.token,
                nonce=self.nonce,
                future=asyncio.get_running_loop().create_future,
            )
        except Exception:
            logger.exception("instance %s: its session's commit failed", item.instance_id)
            outcome, instead = None, None
        if outcome is not None:
            self.driver.settle(prepared, outcome)
        elif not prepared.live.released:
            self.driver.drop(prepared.live)
            await self._intake.take_up(claimed_again(prepared.live), [] if instead is None else [(instead, None)])

    # ── starting ────────────────────────────────────────────────────────────────────────────────────────────────

    def start(
        self,
        definition: Workflow[..., object],
        input: Raw,
        instance_id: str,
        delay: int,
        done: Callable[[Outcome], None],
    ) -> None:
        """Write a new instance and go on with it; `done` hears whether it was accepted."""
        now = self.clock.now()
        life = new_life()
        if delay:
            _, item = start_of(
                definition, input, instance_id=instance_id, life=life, writer=self.nonce(), now=now, delay=delay
            )
            self.writer.submit(item, done)
            return
        begun = begin(
            definition,
            input,
            instance_id=instance_id,
            life=life,
            nonce=self.nonce(),
            now=now,
            owner=self.leases.token,
        )
        self._intake.starting.add(instance_id)
        self.writer.submit(begun.start, lambda outcome: self._begun(begun, outcome, done))

    def _begun(self, begun: Begun, outcome: Outcome, done: Callable[[Outcome], None]) -> None:
        live = begun.live
        self._intake.starting.discard(live.instance_id)
        if outcome is Outcome.DEAD and begun.start.owner != self.leases.token:
            live.run.close()
            self.start(live.definition, Raw(begun.start.input), live.instance_id, 0, done)
            return
        done(outcome)
        if outcome is not Outcome.ACCEPTED or begun.start.owner not in (None, self.leases.token):
            live.run.close()
            return
        live.head = 1
        if begun.activation is None:
            resumed = resumption(live, self.clock.now())
            self.driver.resume(live, [] if resumed is None else [(resumed, None)])
        elif begun.start.owner is None:
            live.run.close()
            self._tell_end(live.instance_id, begun.activation)
        else:
            self.driver.live[live.instance_id] = live
            live.in_flight = True
            self.driver.settle(Prepared(live, begun.start, begun.activation, ()), outcome)
