"""An asyncio event loop that runs what is ready. It never waits, reads a clock, opens a socket or starts a thread.

The run sets its time, its timers become durable ones, and it refuses, by name, every call that would leave it. The loop
knows asyncio, but no events, activities or logs.
"""

from __future__ import annotations

import asyncio
import atexit
import gc
import math
import sys
from contextlib import contextmanager
from contextvars import Context, copy_context
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar, TypeVarTuple, Unpack, cast

from romancy.core.loop.body import BodyTask
from romancy.core.loop.by_hand import enter_task, leave_task
from romancy.core.loop.conditions import Conditions
from romancy.core.loop.forbidden import AUDITED, REFUSED
from romancy.core.loop.generators import Generators
from romancy.core.loop.handles import GIVES_WAY, HOLDS_OUT, MOST, TURNS, Ready, Timer, effort_of
from romancy.core.loop.quiet import quiet
from romancy.core.loop.stable import StableFuture, StableTask, leaves_the_loop, whereabouts
from romancy.core.loop.teardown import close_all, has_failed
from romancy.core.loop.thread_state import is_alone, running_loop, threads
from romancy.core.words.complaints import Complaint, complaint
from romancy.core.words.ids import derive
from romancy.core.words.shared_empty import NO_DICT, NO_LIST
from romancy.errors import NonDeterminismError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sized
    from collections.abc import Generator as Block

    from romancy.core.loop.calls import Calls
    from romancy.core.loop.generators import Generator

__all__ = [
    "DeterministicLoop",
    "RunDropped",
    "Timer",
    "cancellation",
    "new_loop",
    "not_in_a_workflow",
    "orphans",
]

T = TypeVar("T")
_Ts = TypeVarTuple("_Ts")

WAKES_A_SLEEPER: Final[Any] = asyncio.futures._set_result_unless_cancelled  # type: ignore[attr-defined]
"""The callback of the timers that `asyncio.sleep` arms."""

FAR_FUTURE: Final = 100 * 366 * 86_400.0
"""Delays of more than a century count as endless, and are not written to the log."""


class RunDropped(BaseException):
    """Raised in user code that makes a request during its teardown. Only the teardown sees it."""


class Requests(Protocol):
    """What the code of a run can ask for, as its loop knows it."""

    ctx: Any
    """What the body was given to ask with."""

    @property
    def calls(self) -> Calls: ...

    @property
    def asked(self) -> Sized:
        """What was asked for in the activation under way."""
        ...

    @property
    def may_be_answered(self) -> bool:
        """Whether an input that answers a command may still come."""
        ...


class DeterministicLoop(asyncio.AbstractEventLoop):
    """The event loop of one run. Only `drive` makes it move."""

    __slots__ = (
        "_body",
        "_endless",
        "_next_number",
        "_outer",
        "_root",
        "_thread",
        "abandoned",
        "budget",
        "cancelled",
        "commands",
        "complaints",
        "conditions",
        "dead",
        "generators",
        "identity",
        "now",
        "patience",
        "ready",
        "skipped",
        "spent",
        "started",
        "tasks",
        "violation",
    )

    def __init__(self, instance_id: str) -> None:
        self.now = 0.0
        self.skipped = 0.0
        """Seconds that a former run has waited already."""
        self.budget = 0
        self.spent = 0
        self.dead = False
        self.patience = 0
        self.commands: Requests | None = None
        self.violation: NonDeterminismError | None = None
        self.complaints: tuple[Complaint, ...] = ()
        self.started: list[Timer] = NO_LIST
        self.cancelled: list[Timer] = NO_LIST
        self.identity = instance_id
        self._next_number = 0
        self.ready: list[asyncio.Handle] = NO_LIST
        self._body: BodyTask | None = None
        self.tasks: dict[StableTask[Any], None] = NO_DICT
        """The other tasks."""
        self.generators: Generators | None = None
        """Async generators that have begun and not ended."""
        self.conditions: Conditions | None = None
        """What tasks wait for that no future says."""
        self.abandoned: list[tuple[Generator, Context]] = NO_LIST
        self._endless: tuple[Timer, ...] = ()
        self._root = Context()
        self._thread = threads.state
        self._outer: Any = None
        """The loop of the run inside of which this one is driven."""

    # ── what asyncio asks of a loop ─────────────────────────────────────────────────────────────────────────────

    def number(self) -> int:
        """The next number of a task, future or scope. They hash by it, so that sets of them keep one order."""
        self._next_number = number = (self._next_number or self.first_number()) + 1
        return number

    def first_number(self) -> int:
        """The number of the body's task. Numbers of two runs are hardly ever near each other."""
        return int.from_bytes(derive(self.identity, "salt")[:7], "big") + 1

    def call_soon(
        self, callback: Callable[[Unpack[_Ts]], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.Handle:
        handle = Ready(callback, args, self, copy_context() if context is None else context)
        if not self.dead:
            if self.ready is NO_LIST:
                self.ready = [handle]
            else:
                self.ready.append(handle)
        return handle

    def call_later(
        self, delay: float, callback: Callable[[Unpack[_Ts]], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        timer = self.call_at(self.now + delay, callback, *args, context=context)
        if callback is WAKES_A_SLEEPER and isinstance(timer, Timer):
            timer.delay = float(delay)
        return timer

    def call_at(
        self, when: float, callback: Callable[[Unpack[_Ts]], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        if math.isnan(when):
            raise ValueError("a delay must be a number, not NaN")
        timer = Timer(when, callback, args, self, context)
        if self.dead:
            return timer
        if when <= self.now:
            self._make_ready(timer)
        elif when - self.now <= FAR_FUTURE:
            if self.started is NO_LIST:
                self.started = []
            self.started.append(timer)
        else:
            self._endless += (timer,)
        return timer

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        if isinstance(handle, Timer) and handle.id is not None and not self.dead:
            if self.cancelled is NO_LIST:
                self.cancelled = []
            self.cancelled.append(handle)

    def time(self) -> float:
        return self.now

    def create_future(self) -> StableFuture[Any]:
        return StableFuture(loop=self)

    def create_task(self, coro: Any, *, name: Any = None, context: Context | None = None, **options: Any) -> Any:
        if self.dead:
            coro.close()
            raise RunDropped
        if options.get("eager_start"):
            coro.close()
            raise self.refuse("create_task(eager_start=True)")
        if self._body is not None:
            self._body.hand_over()
        task: StableTask[Any] = StableTask(coro, self, name, context)
        if self.tasks is NO_DICT:
            self.tasks = {}
        self.tasks[task] = None
        task.add_done_callback(self._forget, context=self._root)
        return task

    def _forget(self, task: StableTask[Any]) -> None:
        self.tasks.pop(task, None)

    get_debug: Any = bool
    """Every future calls it when it is made. `bool` returns False without running a Python function."""

    def is_running(self) -> bool:
        return not self.dead

    def is_closed(self) -> bool:
        return self.dead

    def get_task_factory(self) -> None:
        return None

    def get_exception_handler(self) -> None:
        return None

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        self.call_exception_handler(context)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if not self.dead:
            self.complaints += (complaint(context),)

    async def shutdown_asyncgens(self) -> None:
        for task in self.finish_generators():
            await task

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Do nothing: there is no executor."""

    # ── what the run does with it ───────────────────────────────────────────────────────────────────────────────

    def start(self, coro: Coroutine[Any, Any, Any]) -> BodyTask:
        """Make the root task, in an empty context: the host's context must not reach it."""
        alive.add(self)
        body = self._body = BodyTask(coro, self, self._root)
        return body

    def take_last(self) -> asyncio.Handle:
        """Take back the callback that was made ready last."""
        return self.ready.pop()

    def _make_ready(self, timer: Timer) -> None:
        if self.ready is NO_LIST:
            self.ready = []
        self.ready.append(timer)

    def unfinished(self) -> list[StableTask[Any]]:
        """The tasks that have not ended, in the order of their creation."""
        body = self._body
        others = [task for task in self.tasks if not task.done()] if self.tasks else []
        return others if body is None or body.done() else [body, *others]

    def holders(self) -> list[object]:
        """Everything that may still continue, which holds everything else."""
        generators = () if self.generators is None else (each for each, _ in self.generators.unfinished())
        timers = [timer for timer in (*self.started, *self._endless) if not timer.cancelled()]
        return [*(task.get_coro() for task in self.unfinished()), *generators, *timers]

    def skip_to(self, when: float) -> None:
        """Skip time that a former run has already waited for."""
        if when > self.now:
            self.skipped += when - self.now
            self.now = when

    def fire(self, timer: Timer) -> None:
        """Make the timer ready. The loop's clock then shows at least the timer's time, despite rounding."""
        self.now = max(self.now, timer.when())
        timer.id = None
        if not timer.cancelled():
            self._make_ready(timer)

    def drop(self) -> None:
        """Raise RunDropped. Code that keeps catching it is left waiting forever."""
        if self.patience:
            self.patience -= 1
            raise RunDropped

    def refuse(self, call: str, instead: str = "") -> NonDeterminismError:
        """Record that the run tried to leave the loop, even if user code swallows the error."""
        return self._violate(leaves_the_loop(call, instead))

    def forbid(self, reason: str) -> NonDeterminismError:
        """Record a call whose outcome would differ on replay, even if user code swallows the error."""
        return self._violate(NonDeterminismError(reason))

    def _violate(self, error: NonDeterminismError) -> NonDeterminismError:
        self.violation = self.violation or error
        return error

    @property
    def idle(self) -> bool:
        return not self.ready

    @property
    def waits_for_ever(self) -> bool:
        """Whether an endless delay is awaited, which is no mistake although no event ends it."""
        self._endless = tuple(timer for timer in self._endless if not timer.cancelled())
        return bool(self._endless)

    @property
    def effects(self) -> tuple[int, ...]:
        """Counts what the code has asked for. It is equal before and after code that has no effect on the run."""
        asked = () if self.commands is None else self.commands.asked
        return len(asked), len(self.ready), len(self.tasks), len(self.started), len(self.cancelled)

    async def until(self, condition: Callable[[], T]) -> T:
        """Wait until the condition returns something true, and return that."""
        if self.conditions is None:
            self.conditions = Conditions(self)
        return await self.conditions.wait(condition)

    async def give_way(self) -> None:
        """Let the others run first."""
        await asyncio.sleep(0)

    def meet_conditions(self) -> None:
        """Drive the tasks whose conditions hold, until none of them holds."""
        while self.idle and self.conditions and self.conditions.wake():
            self.drive()

    def awaited(self) -> list[str]:
        """Where each unfinished task stands, in words."""
        return [whereabouts(task) for task in self.unfinished()]

    def enter(self) -> None:
        """Make this the running loop of the thread, until `leave`. Between the two, only `drive` may be called."""
        thread = self._thread = threads.state
        if thread.depth:
            thread.depth += 1
        else:
            thread.enter()
        self._outer, thread.running = thread.running, self
        asyncio._set_running_loop(self)

    def leave(self) -> None:
        """Give the thread back with its former running loop."""
        thread, outer = self._thread, self._outer
        self._outer = None
        thread.running = outer
        asyncio._set_running_loop(thread.host if outer is None else outer)
        if thread.depth > 1:
            thread.depth -= 1
        else:
            thread.leave()

    @contextmanager
    def outside(self) -> Block[None]:
        """Give the thread back for a moment, in the middle of a task. Nothing happens where the loop does not run."""
        if threads.state.running is not self:
            yield
            return
        task = asyncio.current_task(self)
        if task is not None:
            leave_task(self, task)
        self.leave()
        try:
            yield
        finally:
            self.enter()
            if task is not None:
                enter_task(self, task)

    def drive(self) -> None:
        """Run until nothing is ready, or until the run has spent its budget since the last command without progress."""
        handle: asyncio.Handle | None = None
        body = self._body
        if self.abandoned:
            self._finish_abandoned()
        while self.ready and (self.spent <= self.budget or self._drive_beyond()):
            round_, self.ready = self.ready, NO_LIST
            for count, handle in enumerate(round_, 1):
                if not handle._cancelled:
                    self.spent += 1
                    try:
                        handle._run()
                    except SystemExit:
                        pass  # the task that raised it holds it as its outcome
                if self.abandoned:
                    self._finish_abandoned()
                if self.spent > self.budget:
                    self.ready = round_[count:] + self.ready
                    break
        if self.ready and body is not None:
            body.hand_over()  # what is left goes before its next step
        # From Python 3.12 on the traceback of a task's error holds this frame, and the last handles hold the task.
        body, handle, round_ = None, None, NO_LIST

    def _drive_beyond(self) -> bool:
        """Continue as long as awaited futures get done. Returns True if the run has made a request.

        The limits are counts, so that a replay stops at the same place.
        """
        still = 0
        handle: asyncio.Handle | None = None
        while self.ready and self.budget < self.spent <= self.budget * MOST:
            round_, self.ready = self.ready, NO_LIST
            patience = max(self.budget * self._holds_out(), len(round_) * TURNS)
            for count, handle in enumerate(round_, 1):
                if handle._cancelled:
                    continue
                self.spent += 1
                effort = effort_of(handle)
                still = still + effort if effort else 0
                try:
                    handle._run()
                except SystemExit:
                    pass  # as above
                if self.abandoned:
                    self._finish_abandoned()
                if still > patience or not self.budget < self.spent <= self.budget * MOST:
                    self.ready = round_[count:] + self.ready
                    del handle, round_
                    return self.spent <= self.budget
        handle, round_ = None, NO_LIST  # as in `drive`
        return False

    def _holds_out(self) -> int:
        """How many budgets to allow without progress: fewer while an event may come from outside."""
        waits = self.commands is not None and self.commands.may_be_answered
        return GIVES_WAY if waits or self.started else HOLDS_OUT

    # ── async generators ────────────────────────────────────────────────────────────────────────────────────────

    def meet_generator(self, generator: Generator) -> None:
        """Record that a generator begins."""
        if self.generators is None:
            self.generators = Generators(self)
        self.generators.meet(generator, self.number(), getattr(asyncio.current_task(), "context", self._root))

    def abandon_generator(self, generator: Generator) -> None:
        """Take over a generator without references.

        Outside of a drive, the collector reports it, at an arbitrary time.
        """
        if threads.state.running is self:
            if self.abandoned is NO_LIST:
                self.abandoned = []
            context = copy_context() if self.generators is None else self.generators.context_of(generator)
            self.abandoned.append((generator, context))
        elif self.generators is not None and not self.dead:
            self.generators.lose(generator)

    def _finish_abandoned(self) -> list[StableTask[None]]:
        return [self._finish(generator, context) for generator, context in self.take_abandoned()]

    def finish_generators(self) -> list[StableTask[None]]:
        """Begin to finish the unfinished async generators, in the order in which they began."""
        if not self.generators:
            return []
        return [self._finish(*each) for each in self.generators.unfinished()]

    def finish_lost_generators(self) -> bool:
        """Begin to finish the unreachable generators. True if there are any. Needs a full garbage collection."""
        if not self.generators:
            return False
        self.leave()
        try:
            gc.collect()
        finally:
            self.enter()
        return bool([self._finish(*each) for each in self.generators.lost()])

    def _finish(self, generator: Generator, context: Context) -> StableTask[None]:
        return self.create_task(self.closing(generator), context=context)  # type: ignore[no-any-return]

    async def closing(self, generator: Generator) -> None:
        try:
            await generator.aclose()
        except (asyncio.CancelledError, RunDropped):
            raise
        except BaseException as error:  # noqa: BLE001 - a generator's clean-up may raise anything; it is reported
            self.call_exception_handler({"message": f"{generator!r} failed while it was closed", "exception": error})

    # ── the end ─────────────────────────────────────────────────────────────────────────────────────────────────

    def teardown(self) -> None:
        """Close every coroutine of the run, each in its own context, and refuse all their requests."""
        if self.dead:
            return
        self.dead = True
        self.ready.clear()
        alive.discard(self)
        ended = self._body is None or self._body.done()
        unfinished = [] if ended and not self.tasks else self.unfinished()
        # The error of a failed body holds the frames in which it was raised, and everything in them.
        if not (unfinished or self.generators or self.abandoned or has_failed(self._body)):
            self._let_go()
            return
        with quiet:
            self.enter()
            try:
                close_all(self, unfinished)
                self._let_go()
            finally:
                self.leave()

    def _let_go(self) -> None:
        """Drop all references. No request is possible any more, and the run is freed without the garbage collector."""
        if self.generators is not None:
            self.generators.close()
            self.generators = None
        self.conditions = None
        self._body = None
        self.tasks.clear()
        if self.commands is not None:
            if self.commands.calls.made:
                self.commands.calls.close()
            self.commands.ctx = None  # it refers to them
        self.commands = None

    def take_abandoned(self) -> list[tuple[Generator, Context]]:
        """Take over the generators without references that are not finished."""
        abandoned, self.abandoned = self.abandoned, NO_LIST
        return abandoned


alive: set[DeterministicLoop] = set()
"""Loops that are not torn down.

If one were collected as garbage, its coroutines would be closed at an arbitrary place, perhaps in the middle of another
run, and what their clean-up asks for would reach that run.
"""


def _end_with_python() -> None:
    """Tear down what is left while the modules that its clean-up needs are still there.

    A thread that Python does not wait for may still drive one of them. Then they are left as they are.
    """
    if not is_alone():
        return
    for loop in [*alive]:
        loop.teardown()


atexit.register(_end_with_python)

orphans: list[DeterministicLoop] = []
"""Loops whose run was collected as garbage.

A collection happens at any place, but a teardown must not: the next new run tears them down.
"""


def cancellation(reason: str) -> asyncio.CancelledError:
    return asyncio.CancelledError(reason)


def not_in_a_workflow(call: str, instead: str = "") -> None:
    """Raise NonDeterminismError if the code of a workflow makes this call, with what it should do `instead`."""
    loop = running_loop()
    if loop is not None:
        raise loop.refuse(call, instead)


def _refusal(name: str) -> Callable[..., Any]:
    def refused(self: DeterministicLoop, *_: Any, **__: Any) -> Any:
        raise self.refuse(f"loop.{name}()")

    return refused


for _name in REFUSED:
    setattr(DeterministicLoop, _name, _refusal(_name))
setattr(DeterministicLoop, "__abstractmethods__", frozenset[str]())  # noqa: B010 - all of them are defined now


class _Audited(str):
    """The name of an event of the interpreter's audit that leaves a run without asking its loop.

    A dict compares its key with a name that it is asked for if both have one hash: so the key hears of its event.
    """

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, event: object) -> bool:
        if str.__eq__(self, event):
            not_in_a_workflow(self)
        return False


@cache
def _watch() -> None:
    """Have such events refused, even at the interpreter's end. Others, of which there are many, call no function."""
    heard: Any = dict.fromkeys(map(_Audited, AUDITED)).get
    sys.addaudithook(heard)


def new_loop(instance_id: str) -> DeterministicLoop:
    _watch()
    while orphans:
        orphans.pop().teardown()
    return cast("Any", DeterministicLoop)(instance_id)  # type: ignore[no-any-return]
