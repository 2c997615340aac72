"""Runs a program without durability and without faults, on an asyncio loop whose clock jumps to the next timer.

Each run of the oracle draws the durations of activities anew. If the outcome of a program depends on them, it has more
than one legal outcome, and two runs of the oracle detect this.
"""

from __future__ import annotations

import asyncio
import random
import selectors
from collections import Counter
from contextlib import suppress
from typing import Any, cast

from msgspec import Struct, field

from romancy.errors import (
    EventTimeoutError,
    RetryExhaustedError,
    TerminalError,
    WorkflowCancelledError,
    WorkflowFailedError,
    WorkflowTimeoutError,
)
from romancy_conformance.chaos.boxes import Boxes, PlainPost
from romancy_conformance.chaos.performing import perform
from romancy_conformance.chaos.plain import GUESSED
from romancy_conformance.chaos.programs import Program

__all__ = ["WRITERS", "Expected", "foretell"]

WRITERS = frozenset({
    "write", "savepoint", "flaky", "reserve", "leaky", "long", "spawn", "quick_write", "tells_written", "tells_joined",
    "announces_written", "announces_joined",
})  # fmt: skip
"""The activities that leave a row in the ledger."""


_SENDS = {"tells": "tell", "tells_written": "tell", "tells_joined": "tell", "calls": "call", "publishes": "publish"}
"""What an activity sends."""


class Expected(Struct):
    """The expected state when a workflow has ended."""

    program: Program
    status: str = ""
    result: Any = None
    error: str = ""
    done: Counter[str] = field(default_factory=Counter[str])
    """The number of rows for each key."""
    undone: Counter[str] = field(default_factory=Counter[str])
    announced: dict[str, list[int]] = field(default_factory=dict[str, list[int]])
    """The events for the outside, in the order of each key."""


class _Recur(BaseException):
    """Ends the run; the next one begins."""


class _Selector(selectors.SelectSelector):
    """A selector that waits for no file and skips the time it would have waited."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("the program waits for something that nothing can bring")
        self.now += max(timeout, 0.0)
        return super().select(0)


class _Loop(asyncio.SelectorEventLoop):
    """An ordinary event loop with its own clock."""

    def __init__(self) -> None:
        self.jumping = _Selector()
        super().__init__(self.jumping)

    def time(self) -> float:
        return self.jumping.now


class _Mail:
    """All signals to one workflow, sent before it begins."""

    def __init__(self, signals: tuple[tuple[str, int], ...]) -> None:
        self._left = list(signals)

    async def hear(self, name: str, timeout: float | None) -> int:
        for sent in self._left:
            if sent[0] == name:
                self._left.remove(sent)
                return sent[1]
        if timeout is None:
            await asyncio.sleep(10_000_000)
        await asyncio.sleep(cast("float", timeout))
        raise EventTimeoutError("nothing came")


class _Launched:
    def __init__(self, task: asyncio.Task[Any]) -> None:
        self._task = task

    async def result(self) -> Any:
        try:
            return await asyncio.shield(self._task)
        except asyncio.CancelledError:
            if self._task.cancelled():
                raise WorkflowCancelledError("the child was cancelled") from None
            raise

    def cancel(self) -> None:
        self._task.cancel()


class _Registered:
    """A registered undo: what it would undo counts as reserved until it is taken back."""

    def __init__(self, reserved: Counter[str], key: str) -> None:
        self._reserved = reserved
        self._key = key
        reserved[key] += 1

    def take_back(self) -> None:
        self._reserved[self._key] -= 1


class _Plain:
    """The world without an engine."""

    def __init__(self, expected: Expected, oracle: _Oracle) -> None:
        self._expected = expected
        self._oracle = oracle
        self._mail = _Mail(expected.program.signals)
        self.post = PlainPost(expected.program.path, oracle.boxes, expected.announced)
        oracle.boxes.send_all(expected.program.mail)
        self.reserved: Counter[str] = Counter()
        self.gambled: Counter[str] = Counter()
        """What has failed, and is undone all the same."""

    async def do(self, what: str, key: str, count: int = 0) -> str:
        await asyncio.sleep(86_400.0 if what in {"hold", "keep"} else self._oracle.duration())
        if what == "doomed":
            raise TerminalError(key)
        if what == "exhausted":
            raise RetryExhaustedError(key)
        if what == "gamble":
            self.gambled[key] += 1
        if what in {"guess", "gamble"}:
            return GUESSED
        if what in WRITERS:
            self._expected.done[key] += 1
        if what == "reserve":
            self.reserved[key] += 1
        if what in _SENDS:
            self._oracle.boxes.send(_SENDS[what], key, count)
        if what.startswith("announces"):
            await self.post.announce(key, count)
        return key

    async def hear(self, name: str, timeout: float | None = None) -> int:
        await asyncio.sleep(0)
        return await self._mail.hear(name, timeout)

    async def child(self, program: Program) -> Any:
        return await self._oracle.run(program)

    async def late(self, program: Program, seconds: float) -> Any:
        """It is stopped before any of its waits ends. `seconds` tell only when, which is undetermined."""
        child = await self.launch(program)
        try:
            await asyncio.sleep(20)
        finally:
            child.cancel()
        with suppress(WorkflowCancelledError):
            return await child.result()
        raise WorkflowTimeoutError(f"{seconds} s are over")

    async def launch(self, program: Program) -> _Launched:
        self._oracle.found[program.path] = Expected(program)  # it may be cancelled before it begins
        return _Launched(asyncio.ensure_future(self._oracle.run(program)))

    async def spawn(self, program: Program) -> None:
        await self.do("spawn", f"spawn-{program.path}")
        self._oracle.spawned.append(asyncio.ensure_future(self._oracle.run(program)))

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def is_retried(self) -> bool:
        return False

    def draw(self) -> str:
        return f"{self._oracle.chance.random()}"

    def on_undo(self, what: str, key: str) -> _Registered:
        return _Registered(self.reserved, key)

    def recur(self) -> Any:
        raise _Recur


class _Oracle:
    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.found: dict[str, Expected] = {}
        self.spawned: list[asyncio.Future[Any]] = []
        self.boxes = Boxes()

    def duration(self) -> float:
        return self.chance.choice((0.0, self.chance.uniform(0, 0.01), self.chance.uniform(0, 3.0)))

    async def all(self, program: Program) -> None:
        await asyncio.gather(self._outermost(program), return_exceptions=True)
        await asyncio.gather(*self.spawned, return_exceptions=True)

    async def _outermost(self, program: Program) -> None:
        task = asyncio.ensure_future(self.run(program))
        await asyncio.wait([task], timeout=80_000 if program.ending == "cancelled" else None)
        task.cancel()
        await asyncio.wait([task])

    async def run(self, program: Program) -> Any:
        """Run one workflow, and record how it ended."""
        expected = self.found[program.path] = Expected(program)
        world = _Plain(expected, self)
        try:
            for run in range(len(program.runs)):
                world.reserved.clear()  # effects of a former run are not undone
                world.gambled.clear()
                try:
                    expected.result = await self._in_its_own_task(world, program, run)
                except _Recur:
                    continue
            expected.status = "completed"
            for _ in range(program.failures):  # each time everything was undone, and it ran again
                expected.undone.update(world.reserved + world.gambled)
                expected.done.update(world.reserved)
        except asyncio.CancelledError:
            expected.status, expected.undone = "cancelled", world.reserved + world.gambled
            raise
        except Exception as error:
            expected.status, expected.undone = "failed", world.reserved + world.gambled
            expected.error = type(error).__name__
            raise WorkflowFailedError(str(error), instance_id=program.path, error_type=type(error).__name__) from error
        return expected.result

    async def _in_its_own_task(self, world: _Plain, program: Program, run: int) -> Any:
        """Run in a separate task, so that a workflow that cancels itself does not cancel its caller."""
        task = asyncio.ensure_future(_caught(world, program, run))
        try:
            value, recurs = await task
        finally:
            task.cancel()
        if recurs:
            raise _Recur
        return value


async def _caught(world: _Plain, program: Program, run: int) -> tuple[Any, bool]:
    """Return whether the run recurs instead of raising: a BaseException that ends a task also ends its loop."""
    try:
        return await perform(world, program, run), False
    except _Recur:
        return None, True


def foretell(program: Program, seed: int = 0) -> dict[str, Expected]:
    """Return how the program and all that it starts must end, by instance id."""
    loop, oracle = _Loop(), _Oracle(seed)
    try:
        loop.run_until_complete(oracle.all(program))
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()
    return oracle.found
