"""The workflow whose instances are the windows.

A window is an instance like any other. Each call is a message to it, and the calls for a key wait in its inbox if no
worker runs. It starts what they come to as its child, in the commit that records that it has closed, so there is one
start whichever workers die. It goes on for a while, for the next calls, and then ends; the next call begins it anew.

Its end is refused by the log while there is mail that it has not received, and mail is fed before what is due
(`Workflow.mail_first`). So no call comes behind the last look of an instance that ends.

The body must stay able to replay what former versions of it have written.
"""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
from msgspec.structs import replace

from romancy._microseconds import moment_of
from romancy._named_workflows import StoredCall
from romancy._start_options import kept
from romancy.context import WorkflowContext  # noqa: TC001 - the workflow's types are read
from romancy.core import current_commands
from romancy.errors import SerializationError
from romancy.serialization import loads
from romancy.windows.records import TOLD, WINDOW, Ask, Drop, Flush, Of, Open, State, Told, WindowStart, length
from romancy.workflow import Workflow

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from romancy.core import MessageReceived, WaitAnswer

__all__ = ["KEEPER", "keeper_of", "leaves_others_alone"]

_MOST_WAITS: Final = 64
"""How many messages one commit can receive. It stays, as the other numbers do: a replay would take another way."""
_LEAST: Final = 0.001
"""Seconds of the shortest timer. One that is over at once would be no timer."""
_MOST_STARTED: Final = 1_500_000
"""Bytes of input of the starts of one commit. What it has received can fill half of it."""
_MOST_READ: Final = 8_000_000
"""A run that has received so many bytes ends, and the next one begins with an empty log."""


class _Named(msgspec.Struct):
    workflow: str


class _Given(msgspec.Struct):
    """What has to be read of an input to know whose window it is."""

    of: _Named


async def _keep(ctx: WorkflowContext, of: Of, state: State, window: Open | None) -> None:
    await _Keeper(ctx, of, state, window).keep()


def _workflow(version: str) -> Workflow[[Of, State, Open | None], None]:
    keeper: Workflow[[Of, State, Open | None], None] = Workflow(_keep, name=WINDOW, version=version)
    keeper.mail_first = True
    return keeper


KEEPER: Final[Workflow[[Of, State, Open | None], None]] = _workflow("1")


def keeper_of(workflows: Iterable[str]) -> Workflow[[Of, State, Open | None], None]:
    """The workflow of the windows of these workflows. It leaves others alone, as that of schedules does."""
    return leaves_others_alone(_workflow(versions_of(workflows)), workflows)


def versions_of(workflows: Iterable[str]) -> str:
    return f"1.{sha256(repr(sorted(workflows)).encode()).hexdigest()[:12]}"


def leaves_others_alone(keeper: Workflow[..., None], workflows: Iterable[str]) -> Workflow[..., None]:
    """Let a worker decline instances that start a workflow which it does not know."""
    keeper.declines = partial(_declined, frozenset(workflows))
    return keeper


def _declined(known: frozenset[str], given: bytes) -> str | None:
    name = msgspec.json.decode(given, type=_Given).of.workflow
    return None if name in known else f"it starts {name}, which this worker does not know"


class _Alarm(NamedTuple):
    """A timer."""

    due: datetime
    received: int
    """How many messages had been received when it was set."""
    rings: asyncio.Task[None]


class _Keeper:
    """One run of the instance of a window."""

    def __init__(self, ctx: WorkflowContext, of: Of, state: State, window: Open | None) -> None:
        commands = current_commands()
        assert commands is not None  # noqa: S101 - this is the body of a workflow
        self._ctx = ctx
        self._commands = commands
        self._of = of
        self._state = state
        self._window: Open | None = window
        self._told = state.since is not None, state.started
        """What was reported last."""
        self._rests_since = ctx.now()
        """When a message came last, or a window closed."""
        self._waits: set[WaitAnswer] = set()
        self._came: deque[MessageReceived] = deque()
        """What has been received and not looked at."""
        self._received = self._read = 0
        """How many messages, and bytes of them, this run has received."""
        self._started = 0
        """How many bytes of input it has started with since its last pause."""
        self._alarm: _Alarm | None = None

    async def keep(self) -> None:
        """Receive calls and start what they come to, until there have been none for a while."""
        while not self._is_over():
            self._listen()
            self._set_alarm()
            await self._ctx.until(self._has_something_to_do)
            while self._came:
                await self._hear(self._came.popleft())
            if self._window is not None and self._ctx.now() >= self._window.due:
                await self._close()
            await self._report()
            if self._ctx.should_recur or self._read > _MOST_READ:
                await self._recur()

    @property
    def _ends(self) -> datetime:
        """When the instance ends if no further message comes."""
        return self._rests_since + length(self._state.lingers)

    def _is_over(self) -> bool:
        """Whether no message came for so long, nor since the alarm was set.

        What rang may have been fed together with messages, as many as there were waits, and others lie in the inbox. An
        alarm that was set behind them rings after all that was in the inbox then.
        """
        alarm = self._alarm
        if self._window is not None or alarm is None or not alarm.rings.done():
            return False
        return alarm.received == self._received and self._ctx.now() >= self._ends

    def _has_something_to_do(self) -> bool:
        return bool(self._came) or (self._alarm is not None and self._alarm.rings.done())

    def _set_alarm(self) -> None:
        """Have an alarm that rings when something is due, or before: most calls need no other one."""
        due = self._ends if self._window is None else self._window.due
        if self._alarm is not None:
            if self._alarm.due <= due and not self._alarm.rings.done():
                return
            self._alarm.rings.cancel()
        rest = max((due - self._ctx.now()).total_seconds(), _LEAST)
        self._alarm = _Alarm(due, self._received, asyncio.create_task(self._ctx.sleep(rest)))

    async def _report(self) -> None:
        window = self._window
        told = window is not None, self._state.started
        if told != self._told:
            self._told = told
            self._state = replace(
                self._state,
                since=None if window is None else window.since,
                due=None if window is None else window.due,
            )
            await self._ctx.report(self._state)

    # ── messages ────────────────────────────────────────────────────────────────────────────────────────────────

    def _listen(self) -> None:
        """Wait for messages: for one, and for more of them the more have come."""
        while len(self._waits) < min(_MOST_WAITS, 1 + self._received):
            wait = self._commands.wait(TOLD.topic, "direct")
            wait.add_done_callback(self._receive)
            self._waits.add(wait)

    def _receive(self, wait: WaitAnswer) -> None:
        if not wait.cancelled():
            self._waits.discard(wait)
            self._received += 1
            self._came.append(wait.result())

    async def _hear(self, received: MessageReceived) -> None:
        self._read += len(received.message.data)
        self._rests_since = max(self._rests_since, moment_of(received.at))
        try:
            told: Told = loads(received.message.data, Told, "message of a window")
        except SerializationError as error:
            self._ctx.log.warning("window %s has got a message that it cannot read: %s", self._ctx.instance_id, error)
            return
        match told:
            case Ask():
                await self._add(told)
            case Flush():
                await self._close()
            case Drop():
                self._window = None

    async def _add(self, ask: Ask) -> None:
        """Add a call. The window closes behind it if it is full."""
        now, window = self._rests_since, self._window
        if window is None:
            window = self._window = Open(since=now, latest=now, calls=0, last=ask)
        window.add(ask, now)
        if window.is_full:
            await self._close()

    async def _close(self) -> None:
        """Start what the calls come to."""
        window, self._window = self._window, None
        if window is None:
            return
        input = window.input
        await self._make_room(len(input))
        mark = self._ctx.uuid4().hex[:8]
        run = StoredCall(self._of.workflow, input).options(instance_id=self._of.start_id(window.since, mark))
        run.given = replace(run.given, **kept(window.last))
        child = await self._ctx.start(run)
        now = self._ctx.now()
        self._rests_since = max(self._rests_since, now)
        self._state = self._state.began(WindowStart(instance_id=child.instance_id, calls=window.calls, at=now))

    async def _recur(self) -> None:
        """Go on with an empty log. The end of this run and the start of the next one have the open window each."""
        if self._window is not None:
            await self._make_room(2 * len(self._window.input))
        if not self._came:
            KEEPER.recur(self._of, self._state, self._window)

    async def _make_room(self, length: int) -> None:
        """Let what needs so many bytes go into a later commit, if this one could become too large.

        No message is received meanwhile: a call comes to the start that stands behind it in the log.
        """
        if self._started + length > _MOST_STARTED:
            for wait in self._waits:
                wait.cancel()
            self._waits.clear()
            await self._ctx.sleep(_LEAST)
            self._started = 0
        self._started += length
