"""Turns each request of a run into a command that is recorded or, on replay, found in the record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from romancy.core.fold.answers import SleepAnswer
from romancy.core.fold.kinds import FOLDS
from romancy.core.loop.calls import Calls
from romancy.core.loop.deterministic_loop import WAKES_A_SLEEPER, DeterministicLoop, RunDropped, Timer, cancellation
from romancy.core.loop.thread_state import threads
from romancy.core.words import events as ev
from romancy.core.words.ids import Ids
from romancy.core.words.shared_empty import NO_DICT, NO_LIST
from romancy.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context

    from romancy.core.fold.answers import ChildAnswer, JoinAnswer, ListAnswer, PlaceAnswer, WaitAnswer
    from romancy.core.fold.memory import Memory
    from romancy.core.fold.state import State
    from romancy.core.run.match import Definition, Matcher
    from romancy.core.words.place_events import PlaceAsked

__all__ = ["SECOND", "Asking"]

C = TypeVar("C", bound=ev.Command)
T = TypeVar("T")
SECOND: Final = 1_000_000
_REFUSED: Final = 10_000
"""So many requests after the end of the body are cancelled."""


class Asking:
    """The requests of one run."""

    __slots__ = (
        "_children",
        "_draws",
        "_ids",
        "_patches",
        "_timers",
        "activation",
        "asked",
        "began",
        "calls",
        "compensable",
        "contexts",
        "ctx",
        "forked",
        "freeing",
        "hides",
        "inside",
        "instance_id",
        "joining",
        "lines",
        "listing",
        "loop",
        "matcher",
        "over",
        "places",
        "position",
        "refusals",
        "regaining",
        "resting",
        "state",
        "stored",
        "waits",
    )

    def __init__(self, instance_id: str, state: State, loop: DeterministicLoop) -> None:
        self.instance_id = instance_id
        self.state = state
        self.loop = loop
        self.stored: Callable[[bytes], int] = len
        """How many bytes are stored for a value."""
        self.forked = False
        """Whether it was forked, and has not told yet how many random values it had drawn before."""
        self.hides = False
        """Whether the database cannot read what is stored."""
        self.ctx: Any = None
        """What the body was given to ask with. None: it has not begun, or the run is dropped."""
        self.lines: Any = None
        """What keeps the log lines of the body. None: nothing does."""
        self.asked: list[ev.LogEvent] = NO_LIST
        """The events of the activation under way, behind which commands go. Between activations, none is possible."""
        self.position: int = 0
        """How many events of the run stand before those that were asked for in the activation under way."""
        self.activation = 0
        """The number of the activation under way."""
        self.matcher: Matcher | None = None
        self.over = False
        self.refusals = 0
        """How many requests came after the body had ended."""
        self.calls = Calls()
        self.began = 0
        """The time (µs) at which the loop's time begins: the time of the input for which the body was first driven."""
        self._ids = Ids()
        self.contexts: dict[str, Context] = NO_DICT
        """The context variables of calls that may be undone, by the ids of the calls. Only of those that have any."""
        self.waits: dict[str, WaitAnswer] = NO_DICT
        self.joining: dict[str, JoinAnswer] = NO_DICT
        self.listing: dict[str, ListAnswer] = NO_DICT
        self.places: dict[str, PlaceAnswer] = NO_DICT
        self.freeing: dict[str, set[str]] = NO_DICT
        """Places that are given back when the last of these activities has ended, which were asked to stop."""
        self.inside = False
        """Whether the body has begun with its places."""
        self.resting: tuple[PlaceAsked, ...] = ()
        """Places that the run has given back while it waits, and has to get again before it goes on."""
        self.regaining = ""
        """The place that it waits for before it goes on."""
        self._children: dict[str, ChildAnswer] = NO_DICT
        self._timers: dict[str, Timer] = NO_DICT
        self._patches: dict[str, bool] = NO_DICT
        self._draws: dict[str, int] = NO_DICT

    # ── asking ──────────────────────────────────────────────────────────────────────────────────────────────────

    def ask(self, command: C, of: Definition | None = None, chosen: bool = False) -> C:  # noqa: FBT001, FBT002 - cheaper
        """Record the command, or find it in the record. The returned command has the recorded id.

        `of` is the called definition, which decides whether a recorded call of an older version is the same call.
        """
        if self.loop.dead:
            return command
        if self.matcher is not None:
            recorded = self.matcher.claim(command, chosen=chosen, of=of)
            if recorded is not None:
                command = recorded  # type: ignore[assignment]
        self.asked.append(command)
        FOLDS[type(command)](self.state, command)
        self.loop.spent = 0
        return command

    def keep(self, id: str, context: Context) -> None:
        """Keep the context variables of a call for its undoing."""
        if self.contexts is NO_DICT:
            self.contexts = {}
        self.contexts[id] = context

    def _require_open(self) -> None:
        if self.loop.dead or self.over or threads.state.running is not self.loop:
            self._refuse()

    def _refuse(self) -> None:
        if self.loop.dead:
            self.loop.drop()
        if threads.state.running is not self.loop:
            raise UsageError(
                f"the ctx of workflow {self.started.workflow} was used outside of its body, as in an activity that got "
                "it from there. Call ctx in the body, and give activities what they need as arguments; what an "
                "activity has of its own (session, heartbeats, messages) is in activity_context()"
            )
        if self.over:
            self.refusals += 1
            if self.refusals > _REFUSED:
                raise RunDropped  # a task that catches cancellations, and asks again, would do so for ever
            raise cancellation("the workflow has ended")

    async def until(self, condition: Callable[[], T]) -> T:
        """Wait until the condition returns something true, and return that."""
        self._require_open()
        return await self.loop.until(condition)

    async def sleep(self, seconds: float) -> None:
        """Wait durably, as `asyncio.sleep` does."""
        await self._awake(self.loop.call_later, seconds)

    async def sleep_until(self, moment: int) -> None:
        """Wait durably until a time (µs). A retry waits for it again, unless it is over: it is no length of time."""
        await self._awake(self.loop.call_at, (moment - self.began) / SECOND + self.loop.skipped)

    async def _awake(self, arm: Callable[..., Any], when: float) -> None:
        self._require_open()
        future = SleepAnswer(loop=self.loop)
        timer = arm(when, WAKES_A_SLEEPER, future, None)
        try:
            await future
        finally:
            timer.cancel()

    @property
    def _remembers(self) -> bool:
        """Whether a former run may have an answer. On replay, the record holds the answer."""
        return self.state.memory is not None and self.matcher is None

    @property
    def _memory(self) -> Memory:
        memory = self.state.memory
        assert memory is not None  # noqa: S101 - see _remembers
        return memory

    @property
    def may_be_answered(self) -> bool:
        """Whether an input that answers a command may still come."""
        return self.state.waits_for_something

    @property
    def log_length(self) -> int:
        """How many events the log of the run has by now. The same on replay."""
        return self.position + len(self.asked)

    @property
    def started(self) -> ev.WorkflowStarted:
        assert self.state.started is not None  # noqa: S101 - no user code runs before the start
        return self.state.started

    def due(self, when: float) -> int:
        """The loop's time `when` in µs since the epoch."""
        return self.began + round((when - self.loop.skipped) * SECOND)
