"""Runs activities and compensations: one attempt each, on a bounded number of slots.

An attempt ends in exactly one input for its run, or in none when its worker releases the instance. Its result is in the
log before any effect of it is carried out. The retry policy judges its exceptions, in `judging.py` and nowhere else.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from msgspec import Raw

from romancy._logs import about, get_logger, speaking
from romancy._sizes import check_large
from romancy.attempt_context import enter_activity
from romancy.core import ActivityCancelled, ActivityCompleted, StartActivity, StartCompensation, threads
from romancy.engine.activities.at_most_once import BegunOnce, unknown_end
from romancy.engine.activities.attempt import Attempt, id_of
from romancy.engine.activities.backoff import Backoff
from romancy.engine.activities.calling import Calling
from romancy.engine.activities.carrying import carry
from romancy.engine.activities.judging import ends_the_process, judged
from romancy.engine.activities.port import Tools
from romancy.engine.activities.stopping import Interrupted
from romancy.engine.activities.tasks import maker_of_tasks
from romancy.engine.append_slots import Slots
from romancy.engine.log_lines import say_came_back, say_gone_on, say_unknown
from romancy.engine.stream_keeper import StreamKeeper
from romancy.engine.surroundings import here
from romancy.errors import ActivityError
from romancy.storage.limits import MEASURED_BYTES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Generator, Iterable
    from concurrent.futures import Future

    from romancy.core import Input
    from romancy.depends import Dependencies
    from romancy.engine.activities.places import Kind
    from romancy.engine.append_slots import Keeper
    from romancy.engine.instance import Live
    from romancy.engine.reports import Drives
    from romancy.engine.settings import Settings
    from romancy.storage.protocol import Store

__all__ = ["Attempts"]

logger = get_logger("romancy.engine")

_LAST_WORD: Final = 30.0
"""Seconds that an attempt has to report how it ended, after it was cancelled or has reached its limit."""
_TURN: Final = 0.001
"""Seconds after which a turn of the event loop that begins attempts, one behind the other, lets others run."""
_MOMENT: Final = 1_000
"""In microseconds. A shorter wait for a slot is not recorded: most logs then hold none."""


def _longer_than_a_moment(seconds: float) -> int:
    """The microseconds of a wait for a slot, or 0 for one that is not worth a record."""
    microseconds = round(seconds * 1_000_000)
    return microseconds if microseconds > _MOMENT else 0


class Attempts:
    """Starts attempts when they are due and a slot is free, and turns each end into an input."""

    def __init__(
        self, driver: Drives, store: Store, settings: Settings, dependencies: Dependencies, keeper: Keeper
    ) -> None:
        """`driver` feeds the ends of attempts to their runs."""
        slots = Slots(driver.go_on, keeper, store) if store.capabilities.sessions_exclude else None
        errors = driver.registry.errors
        self._streams = StreamKeeper(store, driver.clock, driver.incarnation, driver.reports.streamed)
        keeps, streams = settings.speaker.keeper, self._streams
        self.tools = Tools(store, driver.incarnation, slots, streams, errors, driver.announces, keeps, self._resting)
        with speaking(settings.speaker):
            self._context = contextvars.copy_context()
        """Each attempt begins in a copy of it, with the variables that the body has set for the call."""
        self._driver = driver
        self._clock = driver.clock
        self._seconds = here().seconds
        self._calling = Calling(
            self, max_threads=settings.max_threads, errors=errors, dependencies=dependencies, context=self._context,
            clock=driver.clock, completed=self._completed,
        )  # fmt: skip
        self._retry = settings.retry
        self._keeper = keeper
        self._limit = self._free = self._at_rest = settings.max_activities
        """All slots, those that are free, and those that would be free if no attempt ran that anything waits for."""
        self.given_up: dict[Attempt, None] = {}
        """Attempts that the engine has gone on without. Each keeps its slot until it ends."""
        self.interrupted = Interrupted()
        self.begun_once = BegunOnce()
        self._held = False
        self._paused = frozenset[str]()
        """The names of the activities of which no attempt begins."""
        self._put_off: list[Attempt] = []
        """Attempts at these that would begin."""
        self._waiting: list[asyncio.Future[None]] = []
        """Those who wait until no attempt runs."""
        self._queue: deque[Attempt] = deque()
        self._to_begin: deque[Attempt] = deque()
        """Attempts that have a slot and begin in the next turn of the event loop, or in this one if it begins any."""
        self._begins = False
        """Whether this turn of the event loop begins attempts."""
        self.patience = Backoff()
        self._observer = driver.observer
        self._stage = settings.stage
        """A test's way to make attempts. None: attempts call their functions."""

    @property
    def idle(self) -> bool:
        """Whether no attempt runs, apart from those that were given up."""
        return self._free >= self._at_rest

    @property
    def running(self) -> int:
        """How many attempts run, without those that were given up."""
        return self._at_rest - self._free

    @property
    def at_rest(self) -> bool:
        """Whether no attempt runs, and none is due yet."""
        return self.idle and not any(each.live.attempts.get(each.id) is each for each in self._queue)

    def start(self, live: Live, effect: StartActivity | StartCompensation) -> None:
        """Run the attempt at its due time."""
        if type(effect) is StartActivity:
            id = effect.activity_id
            if effect.definition.given.at_most_once and self._may_have_begun(live, effect):
                return
        else:
            id = id_of(effect)
        started = live.run.state.started
        assert started is not None  # noqa: S101 - nothing is scheduled before the start
        attempt = Attempt(self.tools, live, effect, id, started.nonce)
        live.begins(attempt)
        if self._streams.unended and self._streams.begun((live.instance_id, live.life, id)):
            attempt.goes_on_behind()
        wait = 0.0 if effect.due is None else self._clock.seconds_until(effect.due)
        if self._observer is not None and not self._observer.idle(live):
            attempt.asked = self._clock.now() + round(wait * 1_000_000)
        if effect.due is not None and wait:
            attempt.timer = self._clock.call_at(effect.due, self._fall_due, attempt, effect.due)
        elif self._queue or self._held or self._free < 1 or self._paused:
            self._enqueue(attempt)
        else:
            self._begin(attempt)

    def _may_have_begun(self, live: Live, effect: StartActivity) -> bool:
        """Whether an attempt at this activity, which begins at most once, may have begun. Then its call ends here."""
        if not (effect.lost or self.begun_once.has(live, effect)):
            return False
        say_unknown(live, effect)
        self._driver.feed(live, unknown_end(effect, now=self._clock.now()))
        return True

    def may_have_begun(self, instance_id: str) -> bool:
        """Whether attempts of an instance that is not loaded have begun here, whose ends may be in no log."""
        return self.begun_once.any_of(instance_id) or self.interrupted.any_of(instance_id)

    def cancel(self, live: Live, activity_id: str, *, idle: bool = False) -> None:
        """Ask an attempt to stop that the workflow no longer wants. Its end is still reported, once.

        Without an attempt here, its outcome is unknown, unless none was at work (`idle`, or `Live.unbegun`).
        """
        attempt = live.attempts.get(activity_id)
        if attempt is None:
            if not live.has_ended(activity_id):
                known = idle or activity_id in live.unbegun
                self._cancelled(live, activity_id, unknown=not known or self.interrupted.has(live, activity_id))
            return
        stop = attempt.asks_to_stop()
        if stop.cancelled:
            return  # it was asked before
        stop.cancelled = True
        if attempt.ending:
            return
        if self._stop(attempt):
            attempt.timer = asyncio.get_running_loop().call_later(_LAST_WORD, self._without_it, attempt)
        else:
            self._cancelled(live, activity_id, unknown=self._may_have_run(attempt))

    def _may_have_run(self, attempt: Attempt) -> bool:
        """Whether another attempt at the same work may have run, whose end is in no log."""
        effect = attempt.effect
        return (isinstance(effect, StartActivity) and effect.lost) or self.interrupted.has(attempt.live, attempt.id)

    def _without_it(self, attempt: Attempt) -> None:
        """The attempt did not stop in time: record it with an unknown outcome.

        Its workflow continues. Whatever the attempt does from now on is rolled back and not reported.
        """
        live = attempt.live
        if attempt.ending or not attempt.is_wanted:
            return
        say_gone_on(attempt, _LAST_WORD)
        try:
            event = self._unknown_end(attempt)
        except Exception as error:  # noqa: BLE001 - as in `_run`
            self.interrupted.note(live, attempt.id)
            self._driver.reports.broken(live, error)
            return
        live.goes_on_without(attempt.id)
        self._let_alone(attempt)
        self._driver.feed(live, event)

    def _unknown_end(self, attempt: Attempt) -> Input:
        stop = attempt.asks_to_stop()
        if stop.cancelled or stop.error is None:
            return ActivityCancelled(at=self._clock.now(), id=attempt.id, unknown=True)
        error = type(stop.error)(f"{stop.error}, and it has not stopped {_LAST_WORD:g} s later: its outcome is unknown")
        return self._failure(attempt, error, unknown=True)

    def _let_alone(self, attempt: Attempt) -> None:
        """Roll back what the attempt writes. If its task only waits for a thread, the task ends."""
        stop = attempt.asks_to_stop()
        attempt.is_over()
        if stop.on_thread and attempt.task is not None:
            attempt.task.cancel()
            return
        self._gone_on_without(attempt)
        if attempt.port is not None:
            self._driver.ports.give_up([attempt.port])

    def _cancelled(self, live: Live, activity_id: str, *, unknown: bool) -> None:
        live.goes_on_without(activity_id)
        self._driver.feed(live, ActivityCancelled(at=self._clock.now(), id=activity_id, unknown=unknown))

    def stop_all(self, live: Live) -> None:
        """Stop every attempt of this instance. None of them reports its end."""
        for attempt in live.take_attempts():
            waited = attempt.task is not None and self.waits_for_place(attempt.task)
            if self._stop(attempt) and not waited:
                self.interrupted.note(live, attempt.id)
            else:
                if attempt.effect.definition.given.at_most_once:
                    self.begun_once.take_back(attempt)
                if not self._may_have_run(attempt):
                    live.never_began(attempt.id)

    def stop_resting(self, live: Live) -> None:
        """Stop the attempts of this instance, all of which only wait. None of them reports an end."""
        for attempt in live.take_attempts():
            self._stop(attempt)

    def stop_unbegun(self, live: Live) -> None:
        """Stop the attempts of this instance that have not begun. Those at work go on, and report their ends."""
        for attempt in [each for each in live.attempts.values() if each.task is None]:
            if attempt.timer is not None:
                attempt.timer.cancel()
            live.goes_on_without(attempt.id)
            if not self._may_have_run(attempt):
                live.never_began(attempt.id)

    def forget_stopped(self) -> None:
        """Remove the attempts from the queue that nothing waits for any more."""
        self._queue = deque(each for each in self._queue if each.is_wanted)
        self._put_off = [each for each in self._put_off if each.is_wanted]

    def _stop(self, attempt: Attempt) -> bool:
        """Cancel its timer and its task. True if the task runs and will report how it ended."""
        if attempt.timer is not None:
            attempt.timer.cancel()
        stop = attempt.asks_to_stop()
        if attempt.task is None:
            return False
        stop.fresh = True
        attempt.task.cancel()
        if not attempt.began:
            self._one_free()
        return attempt.began

    def _one_free(self) -> None:
        self._free += 1
        self._slot_is_free()

    @contextmanager
    def _resting(self, attempt: Attempt) -> Generator[None]:
        """An attempt only waits in this block, and another one may have its slot. For a moment, both may run."""
        attempt.rests = True
        if attempt.live.inbox.pressing:  # its instance may have been asked to pause
            asyncio.get_running_loop().call_soon(self._driver.go_on, attempt.live)
        self._one_free()
        try:
            yield
        finally:
            attempt.rests = False
            self._free -= 1

    def _slot_is_free(self) -> None:
        if self._waiting and self._free >= self._at_rest:
            self._tell_waiting()
        if self._queue:
            self._launch()

    def _tell_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)

    # ── limits, and attempts that do not stop ───────────────────────────────────────────────────────────────────

    def reached(self, attempt: Attempt, error: Exception) -> bool:
        """A limit of the attempt is reached, which fails with this error unless it answers within `_LAST_WORD`.

        False: it was asked to stop before.
        """
        if attempt.stop is not None:
            return False
        stop = attempt.asks_to_stop()
        stop.error, stop.fresh = error, True
        attempt.timer = asyncio.get_running_loop().call_later(_LAST_WORD, self._without_it, attempt)
        return True

    def left_on_thread(self, attempt: Attempt) -> None:
        """The task of the attempt ends and gives its slot back. Its function goes on alone, and takes a slot."""
        self._free -= 1
        attempt.asks_to_stop().on_thread = True
        self._gone_on_without(attempt)

    def _gone_on_without(self, attempt: Attempt) -> None:
        self.given_up[attempt] = None
        self._at_rest -= 1
        if self._waiting and self._free >= self._at_rest:
            self._tell_waiting()
        if not self._at_rest:
            logger.error(
                "all %d slots (max_activities) are taken by activities that were given up and do not stop: no other "
                "activity begins until one of them ends",
                self._limit,
            )

    def came_back(self, attempt: Attempt, ended: Future[Any]) -> None:
        """A function that went on alone on its thread has ended."""
        self._ends_unheard(attempt, ended.exception())
        self._one_free()

    def _ends_unheard(self, attempt: Attempt, error: BaseException | None) -> None:
        """An attempt that was given up has ended."""
        del self.given_up[attempt]
        self._at_rest += 1
        say_came_back(attempt, error)

    def limit(self, kind: Kind) -> int:
        """How many slots of this kind there are."""
        places = self._calling.places.get(kind)
        return self._limit if places is None else min(self._limit, places.limit)

    def free(self, kind: Kind) -> int:
        """How many slots of this kind are free."""
        places = self._calling.places.get(kind)
        return max(0, self._free if places is None else min(self._free, places.free))

    def waits_for_place(self, task: asyncio.Task[None]) -> bool:
        """Whether this task of an attempt waits for a thread or a process."""
        return any(task in places.waiting for places in self._calling.places.values())

    def _fall_due(self, attempt: Attempt, due: int) -> None:
        if self._clock.seconds_until(due):
            attempt.timer = self._clock.call_at(due, self._fall_due, attempt, due)
        else:
            self._enqueue(attempt)

    def _enqueue(self, attempt: Attempt) -> None:
        attempt.waits_since = self._seconds()
        self._queue.append(attempt)
        self._launch()

    def _begin(self, attempt: Attempt) -> None:
        """Give the attempt a slot. It begins together with all others that have one."""
        self._free -= 1
        if not (self._to_begin or self._begins):
            asyncio.get_running_loop().call_soon(self._begin_all)
        self._to_begin.append(attempt)

    def _begin_all(self) -> None:
        """Begin the attempts that have a slot, unless they are unwanted, held back, or the lease is in doubt.

        For a moment, those that follow at once on what they return begin in the same turn of the event loop: of a lone
        workflow on a fast disk, several steps. Hooks hear of an end in the next turn, before what follows begins.
        """
        loop, fresh = asyncio.get_running_loop(), self._keeper.leases.fresh()
        task_of = maker_of_tasks(loop)
        end = self._seconds() + _TURN if self._observer is None else 0.0
        self._begins, waiting = True, len(self._to_begin)
        thread = threads.state
        thread.stays = True  # what the first drive exchanges serves those of the steps that follow
        try:
            while self._to_begin and (waiting > 0 or self._seconds() < end):
                waiting -= 1
                attempt = self._to_begin.popleft()
                if attempt.live.attempts.get(attempt.id) is not attempt:
                    self._one_free()  # nothing waits for it any more
                elif fresh and not self._held:
                    context = self._context.copy()
                    if attempt.effect.definition.given.at_most_once:
                        self.begun_once.note(attempt)
                    if attempt.effect.context is not None:
                        carry(attempt.effect.context, context)
                    task = task_of(self._run(attempt, loop), loop, attempt.id, context)
                    if not attempt.began:
                        attempt.task = task
                else:
                    attempt.waits_since = attempt.waits_since or self._seconds()
                    self._queue.append(attempt)
                    self._one_free()
        finally:
            thread.stays = self._begins = False
            if thread.is_in:
                thread.give_back()
            if self._to_begin:  # time is up, or the process is ending by an exception of an activity
                loop.call_soon(self._begin_all)

    def _launch(self) -> None:
        while self._queue and self._free > 0 and not self._held:
            attempt = self._queue.popleft()
            if attempt.live.attempts.get(attempt.id) is not attempt:
                continue
            if self._paused and attempt.effect.definition.name in self._paused:
                attempt.waits_since = 0.0
                self._put_off.append(attempt)
                continue
            # An attempt that waited for a slot starts only while this worker's lease is known to hold.
            if not self._keeper.leases.fresh():
                self._queue.appendleft(attempt)
                break
            attempt.queued = _longer_than_a_moment(self._seconds() - attempt.waits_since)
            self._begin(attempt)

    def pause(self, names: Iterable[str]) -> None:
        """Begin no attempts at the activities of these names, and those again that were put off for others."""
        paused = frozenset(names)
        if paused == self._paused:
            return
        self._paused = paused
        waiting, self._put_off = self._put_off, []
        for attempt in waiting:
            attempt.waits_since = self._seconds()
        self._queue.extend(waiting)
        self._launch()

    def hold(self) -> None:
        """Begin no further attempts. Running attempts continue."""
        self._held = True

    async def all_ended(self, timeout: float | None) -> bool:
        """Wait until no attempt runs, apart from those given up. False if one still runs after `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout):
                while self._free < self._at_rest:
                    self._waiting.append(asyncio.get_running_loop().create_future())
                    await self._waiting[-1]
        except TimeoutError:
            return False
        return True

    async def nothing_runs(self, timeout: float) -> bool:
        """Wait as `all_ended` does, and also until everything has ended that was given up."""
        try:
            async with asyncio.timeout(timeout):
                while self._free < self._limit:
                    self._waiting.append(asyncio.get_running_loop().create_future())
                    await self._waiting[-1]
        except TimeoutError:
            return False
        return True

    def resume(self) -> None:
        """Start the attempts that waited while this worker's lease was in doubt."""
        self._launch()

    def close(self) -> None:
        """Begin no further call on a thread, kill the processes, and write nothing more to streams."""
        self._calling.close()
        self._streams.close()

    async def _run(self, attempt: Attempt, loop: asyncio.AbstractEventLoop) -> None:
        attempt.began = True
        task = attempt.task = asyncio.current_task(loop)
        try:
            try:
                if self._observer is None or not attempt.asked:
                    call = self._plain_call(attempt)
                    value = None if call is None else await call
                    plain = call is not None and attempt.port is None
                    event = self._completed(attempt, value) if plain else await self._finished(attempt, call, value)
                else:
                    event = await self._observer.around(attempt, self._observed)
                attempt.ending = True
            except asyncio.CancelledError as error:
                attempt.has_stopped()
                event = await self._was_cancelled(attempt, error)
            except BaseException as error:
                if ends_the_process(error, task):
                    raise
                attempt.has_stopped()
                if await self._has_failed(attempt, error):
                    return
                event = self._failure(attempt, error)
            finally:
                attempt.task = None  # breaks the cycle from the task over its context to the attempt
                self._free += 1
                if self._queue or self._waiting:
                    self._slot_is_free()
            live = attempt.live
            if not live.ends(attempt, event):
                await self._unwanted(attempt, None)
                return
            if self._free >= self._at_rest and task is not None and not task.cancelling():
                await self._driver.ended_alone(live, event, attempt.port, task)
            else:
                self._driver.ended(live, event, attempt.port)
        except Exception as error:  # noqa: BLE001 - any error is reported, so that no run waits forever
            await self._cannot_tell(attempt, error)

    async def _cannot_tell(self, attempt: Attempt, error: Exception) -> None:
        """Log that the outcome could not be recorded, and drop the run: it would wait for the attempt forever."""
        live = attempt.live
        logger.error(
            "instance %s: %s: could not record the outcome of the attempt",
            live.instance_id, attempt.id, exc_info=error, extra=about(live, attempt.id, attempt.effect.attempt),
        )  # fmt: skip
        await attempt.give_up()
        if live.attempts.get(attempt.id) is attempt:
            self.interrupted.note(live, attempt.id)
            self._driver.reports.broken(live, error)

    def _plain_call(self, attempt: Attempt) -> Awaitable[Any] | None:
        """The call of its function, if the attempt only has to await it; otherwise None."""
        effect = attempt.effect
        definition: Any = effect.definition
        if type(effect) is not StartActivity or not definition.is_async or definition.dependencies or self._stage:
            return None
        given = definition.given
        if not given.is_plain:
            return None
        positional, named = definition.signature.decode_arguments(effect.args)
        if given.pass_context:
            positional = (attempt(), *positional)
        enter_activity(attempt)
        return definition.fn(*positional, **named)  # type: ignore[no-any-return]

    def _completed(self, attempt: Attempt, value: object) -> Input:
        """The input that reports its result. Raises SerializationError and PayloadTooLargeError."""
        effect = attempt.effect
        definition: Any = effect.definition
        attempt.returned = True
        result = Raw(definition.signature.encode_result(value))
        if len(result) > MEASURED_BYTES:
            check_large(result, f"result of activity {attempt.id}")
        if definition.given.commit == "lazy":
            attempt.live.completed_lazily(attempt.id)
        return ActivityCompleted(self._clock.now(), attempt.id, result, effect.attempt, attempt.queued)

    async def _observed(self, attempt: Attempt) -> Input:
        call = self._plain_call(attempt)
        return await self._finished(attempt, call, None if call is None else await call)

    async def _finished(self, attempt: Attempt, call: Awaitable[Any] | None, value: object) -> Input:
        """The end of an attempt that used a port. Without a `call`, the function is called here first."""
        if call is None:
            return await self._carefully(attempt)
        await attempt.finish()
        return self._completed(attempt, value)

    async def _carefully(self, attempt: Attempt) -> Input:
        if self._stage is None:
            return await self._calling.make(attempt, attempt.effect.definition)
        return await self._stage(attempt, self._calling.make)

    async def _was_cancelled(self, attempt: Attempt, error: asyncio.CancelledError) -> Input:
        """The input for an attempt that raised CancelledError. Raises `error` again if the attempt was dropped."""
        streamed = 0
        if attempt.is_wanted and attempt.stop is not None and attempt.stop.cancelled:
            streamed = await attempt.streamed()  # what it wrote stays
        await attempt.give_up()
        if not attempt.is_wanted:
            await self._unwanted(attempt, error)
            raise error
        if attempt.stop is not None and attempt.stop.cancelled:
            unknown = attempt.stop.unknown or self._may_have_run(attempt)
            return ActivityCancelled(at=self._clock.now(), id=attempt.id, unknown=unknown, streamed=streamed)
        name = attempt.effect.definition.name
        cause = ActivityError(f"{name} raised CancelledError, but it had not been cancelled")
        cause.__cause__ = error
        return self._failure(attempt, cause)

    async def _unwanted(self, attempt: Attempt, error: BaseException | None) -> None:
        """The attempt has ended, and nothing waits for that."""
        await attempt.close()
        if attempt in self.given_up and not attempt.asks_to_stop().on_thread:
            self._ends_unheard(attempt, error)

    async def _has_failed(self, attempt: Attempt, error: BaseException) -> bool:
        """Undo the attempt. Returns True if its failure is not recorded: the engine repeats it, or had given it up."""
        excuse = attempt.excuse(error) if isinstance(error, Exception) else None
        await attempt.give_up()
        if not attempt.is_wanted:
            await self._unwanted(attempt, error)
            return True
        if excuse is None or attempt.stop is not None:
            return False
        self._again(attempt, excuse)
        return True

    def _again(self, attempt: Attempt, error: Exception) -> None:
        """Repeat an attempt that lost its session before the commit. The lost attempt does not count."""
        live = attempt.live
        if live.attempts.get(attempt.id) is not attempt:
            return
        pause = self.patience.lost()
        logger.warning(
            "instance %s: the session of %s was lost, retried in %.1f s: %s",
            live.instance_id, attempt.id, pause, error,
            extra=about(live, attempt.id, attempt.effect.attempt),
        )  # fmt: skip
        # A new object: a thread that still runs the lost attempt must not be mistaken for the new one.
        again = Attempt(self.tools, live, attempt.effect, attempt.id, attempt.nonce, attempt.asked)
        live.begins(again)
        if self._streams.begun((live.instance_id, live.life, attempt.id)):
            again.goes_on_behind()
        due = self._clock.now() + round(pause * 1_000_000)
        again.timer = self._clock.call_at(due, self._fall_due, again, due)

    def _failure(self, attempt: Attempt, error: BaseException, *, unknown: bool = False) -> Input:
        unknown = unknown or (attempt.stop is not None and attempt.stop.unknown)
        return judged(attempt, error, now=self._clock.now(), retry=self._retry, unknown=unknown)
