"""Instances that operators pause and unpause again and again, while they are told numbers, have children, and stop.

While the log says that an instance is paused, nothing of it is in the log, and none of its activities acts. What it is
told in a pause is received in its order. Behind its last pause each instance ends as it has to: a child that outlives
its parent returns, whatever becomes of its parent.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from romancy import (
    EventType,
    InstanceEndedError,
    InstanceNotFoundError,
    RetryPolicy,
    RomancyError,
    StorageUnavailableError,
    UsageError,
    WorkflowCancelledError,
    WorkflowContext,
    activity,
    activity_context,
    workflow,
)
from romancy.core import (
    TERMINAL,
    ActivityScheduled,
    CompensationScheduled,
    OwnerChanged,
    TimerFired,
    TimerStarted,
    WorkflowCancelled,
    WorkflowRetried,
)
from romancy.status import TERMINAL_STATUSES, Status
from romancy_conformance.chaos.shapes.acts import FORMS, put, read_acts, take_back
from romancy_conformance.chaos.shapes.honesty import TERMINATED
from romancy_conformance.chaos.stage import stage

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable, Sequence

    from romancy.core import LogEvent
    from romancy.storage.records import InstanceRow
    from romancy_conformance.chaos.shapes.shape import Scene

__all__ = ["Paused", "early_in", "strange_in_pauses"]

_TOLD: Final = EventType("shape-told-in-pauses", int)
_KINDS: Final = (*FORMS, "lasts", "nap", "hear", "hear", "beside")
_NAPS: Final[tuple[float, ...]] = (0.01, 0.1, 0.6)
_STARTS_PAUSED: Final = 0.15
_FROZEN: Final = 0.5
"""The part of the pauses that stop the time of what is waited for."""
_STOPPED: Final = 0.35
_CUT: Final = 0.4
"""The share of those that are stopped which is terminated."""
_RETRIED: Final = 0.5
"""The share of those that were stopped which is retried."""
_TWO: Final = 0.3
"""The share of the instances with two operators at once."""
_PATIENCE: Final = 120.0
"""Seconds after which an instance is paused that was asked to, whatever its workers do."""


@activity(compensation=take_back, retry=RetryPolicy.fixed(20, 0.05))
async def shape_lasts(number: int) -> int:
    """It acts after a while, so that a pause has to wait for it. The first attempts of some fail."""
    await asyncio.sleep(_NAPS[int(number) % 3])
    if number % 2 and activity_context().attempt < 3:
        raise ConnectionError(number)
    done: int = await put.fn(number)
    return done


@workflow(version="1")
async def shape_paused_child(ctx: WorkflowContext, parts: list[Any]) -> int:
    """Act, and return the sum."""
    total = 0
    for kind, number in parts:
        if kind == "nap":
            await ctx.sleep(_NAPS[int(number) % 3])
        else:
            total += await _ACTS[kind](number)
    return total


_ACTS: Final = {**FORMS, "lasts": shape_lasts}


@workflow(version="1")
async def shape_paused(ctx: WorkflowContext, parts: list[Any], child: list[Any], detached: bool) -> list[Any]:  # noqa: FBT001 - stored input
    """Act, hear numbers, and have a child beside that. Returns what was heard, and the two sums."""
    heard, total = list[int](), 0
    bound = shape_paused_child.options(instance_id=f"{ctx.instance_id}.c", detached=detached)
    beside = None
    for kind, number in parts:
        match kind:
            case "nap":
                await ctx.sleep(_NAPS[int(number) % 3])
            case "hear":
                heard.append((await ctx.wait_event(_TOLD)).data)
            case "beside":
                total += sum(await asyncio.gather(*(form(number) for form in _ACTS.values())))
            case "child":
                beside = await ctx.start(bound, child)
            case _:
                total += await _ACTS[kind](number)
    return [heard, total, 0 if beside is None else await beside.result()]


class _Cast(NamedTuple):
    """What the instance of a scene has to do, and to return."""

    parts: list[Any]
    child: list[Any]
    numbers: int
    """How many it hears."""
    right: list[Any]

    @classmethod
    def drawn(cls, chance: random.Random) -> _Cast:
        kinds = [chance.choice(_KINDS) for _ in range(chance.randint(stage.most // 8, stage.most // 3))]
        kinds.insert(chance.randrange(len(kinds) + 1), "child")
        parts = list(enumerate(kinds))
        child = list(enumerate(chance.choice((*_ACTS, "nap")) for _ in range(chance.randint(1, stage.most // 5))))
        numbers = kinds.count("hear")
        total = sum(number * (len(_ACTS) if kind == "beside" else kind in _ACTS) for number, kind in parts)
        beside = sum(number for number, kind in child if kind in _ACTS)
        right = [list(range(numbers)), total, beside]
        return cls(
            [[kind, number] for number, kind in parts], [[kind, number] for number, kind in child], numbers, right
        )


class _Span(NamedTuple):
    """A time in which an instance was paused: the row of its pause was the last at both looks."""

    instance: str
    begin: float
    end: float


class Paused:
    """It is paused, unpaused, told numbers, stopped and retried at random moments."""

    name = "paused"
    sealed = False
    workflows: tuple[Any, ...] = (shape_paused, shape_paused_child)

    async def play(self, scene: Scene) -> None:
        """Play one instance with its child to their ends, and look at their logs."""
        operators = _Operators(scene, _Cast.drawn(scene.chance))
        await operators.play()
        await operators.judge()


class _Operators:
    """Those who act on one instance and its child."""

    def __init__(self, scene: Scene, cast: _Cast) -> None:
        self._scene = scene
        self._cast = cast
        self._root, self._child = scene.path, f"{scene.path}.c"
        self._detached = scene.chance.random() < 0.5
        self._stops = scene.chance.random() < _STOPPED
        self._is_alone = scene.chance.random() >= _TWO
        self._is_over = False
        self._unsure = False
        """Whether a call was not answered, which may be carried out later."""
        self._spans: list[_Span] = []
        self._began = stage.moment()

    async def play(self) -> None:
        """Start it, let all act on it at once, and let it end."""
        scene, chance = self._scene, self._scene.chance
        starts = shape_paused.options(instance_id=self._root, paused=chance.random() < _STARTS_PAUSED)
        await scene.start(starts.bind(self._cast.parts, self._cast.child, self._detached))
        beside = [
            asyncio.create_task(each) for each in (self._tell(), self._watch(self._root), self._watch(self._child))
        ]
        acting = [self._act() for _ in range(1 if self._is_alone else 2)]
        await asyncio.gather(*acting, *([self._stop()] if self._stops else []))
        await self._let_end(self._root)
        if self._stops and chance.random() < _RETRIED and await self._retry():
            await self._act()
            await self._let_end(self._root)
        await self._let_end(self._child)
        self._is_over = True
        await asyncio.gather(*beside)

    # ── what they do ────────────────────────────────────────────────────────────────────────────────────────────

    async def _act(self) -> None:
        chance = self._scene.chance
        for _ in range(chance.randint(2, 9)):
            await asyncio.sleep(chance.choice((0.0, 0.03, 0.2, 1.0, 3.0)))  # the moment is what is tried
            path = self._child if chance.random() < 0.25 else self._root
            kind = chance.choice(("pause", "pause", "pause twice", "unpause", "unpause twice", "hold"))
            calls = [self._unpause if "unpause" in kind else self._pause] * (2 if "twice" in kind else 1)
            await asyncio.gather(*(call(path) for call in calls))
            if kind == "hold":
                await self._hold(path)

    async def _pause(self, path: str) -> None:
        freeze = self._scene.chance.random() < _FROZEN
        await self._called(partial(self._scene.app.pause, path, reason="as the shape says", freeze_time=freeze))

    async def _unpause(self, path: str) -> None:
        await self._called(partial(self._scene.app.unpause, path))

    async def _called(self, call: Callable[[], Awaitable[object]]) -> bool:
        """Make a call until it is answered. False: it does not fit what the instance is now."""
        while True:
            try:
                await call()
            except StorageUnavailableError:
                self._unsure = True
                await asyncio.sleep(0.1)
            except (UsageError, InstanceEndedError, InstanceNotFoundError):
                return False
            else:
                return True

    async def _hold(self, path: str) -> None:
        """Wait until it is paused, which it was just asked to be, and let it go on."""
        since = stage.moment()
        while self._is_alone and not self._unsure:
            row = await self._row(path)
            if row is None or row.status in TERMINAL_STATUSES or row.status is Status.PAUSED:
                break
            if stage.moment() - since > _PATIENCE:
                self._find("wrong", f"it was asked to pause {_PATIENCE:.0f} s ago, and is {row.status}", path)
                return
            await asyncio.sleep(0.1)
        await asyncio.sleep(self._scene.chance.choice((0.0, 0.2, 1.0)))
        row = await self._row(path)
        if row is None or row.status is not Status.PAUSED:
            return
        is_told = await self._called(partial(self._scene.app.unpause, path))
        if not is_told and self._is_alone and not self._unsure and not self._stops:
            self._find("wrong", "it was paused, and its unpause was refused", path)

    async def _stop(self) -> None:
        chance, app = self._scene.chance, self._scene.app
        await asyncio.sleep(chance.uniform(0.0, 6.0))  # as above
        if chance.random() < _CUT:
            await self._called(partial(app.terminate, self._root, reason=TERMINATED))
        else:
            await self._called(partial(app.cancel, self._root))

    async def _retry(self) -> bool:
        """Retry it if it was stopped; the answer before a repeated call may have been lost."""
        row = await self._row(self._root)
        if row is None or row.status is not Status.CANCELLED:
            return False
        await self._called(partial(self._scene.app.retry, self._root, unsure="undone"))
        return True

    async def _tell(self) -> None:
        """Tell it all numbers in their order. If it has ended, it is told the next one when it was retried."""
        chance, app = self._scene.chance, self._scene.app
        for number in range(self._cast.numbers):
            call = partial(app.signal, self._root, _TOLD, number, id=f"{self._root}-{number}")
            while not self._is_over and not await self._called(call):
                await self._for_a_moment()
            await asyncio.sleep(chance.choice((0.0, 0.0, 0.05, 0.3)))

    async def _let_end(self, path: str) -> None:
        """Unpause it, and its child, until it has ended."""
        while (row := await self._row(path)) is not None and row.status not in TERMINAL_STATUSES:
            for one in (self._root, self._child):
                found = await self._row(one)
                if found is not None and found.status is Status.PAUSED:
                    await self._unpause(one)
            await self._for_a_moment()

    async def _for_a_moment(self) -> None:
        """Until the next look, which comes later and later: all workers may be dead for a while."""
        late = (stage.moment() - self._began) / 10
        await asyncio.sleep(self._scene.chance.uniform(0.0, 1.0) + min(late, 5.0))

    # ── what they see ───────────────────────────────────────────────────────────────────────────────────────────

    async def _row(self, path: str) -> InstanceRow | None:
        page = await self._scene.insist(partial(self._scene.store.read, path, limit=0))
        return None if page is None else page.instance

    async def _watch(self, path: str) -> None:
        """Note when it is paused for sure: between two looks that find the same pause."""
        last: tuple[InstanceRow, float] | None = None
        while not self._is_over:
            begin = stage.moment()
            row = await self._row(path)
            now = stage.moment()
            if row is None or row.status is not Status.PAUSED or row.owner is not None:
                last = None
            else:
                if last is not None and (last[0].life, last[0].last_seq) == (row.life, row.last_seq):
                    self._spans.append(_Span(path, last[1], begin))
                last = row, now
            await self._for_a_moment()

    async def judge(self) -> None:
        """Look at the ends and the logs of both."""
        outcome = await self._scene.outcome(self._root)
        if isinstance(outcome, RomancyError):
            if not self._stops or not isinstance(outcome, WorkflowCancelledError):
                self._find("wrong", f"it ended with {outcome!r}")
        elif outcome != self._cast.right:
            self._find("wrong", f"it ended with {outcome}, and had to return {self._cast.right}")
        logs = {self._root: await self._scene.insist(partial(self._scene.app.history, self._root))}
        if await self._row(self._child) is not None:
            logs[self._child] = await self._scene.insist(partial(self._scene.app.history, self._child))
            await self._judge_child(was_stopped=_was_cancelled(logs[self._root]))
        for path, log in logs.items():
            for text in (*strange_in_pauses(log), *early_in(log)):
                self._find("wrong", text, path)
            self._judge_acts(path, log)

    async def _judge_child(self, *, was_stopped: bool) -> None:
        outcome = await self._scene.outcome(self._child)
        if isinstance(outcome, WorkflowCancelledError) and was_stopped and not self._detached:
            return
        if outcome != self._cast.right[2]:
            how = "detached" if self._detached else "kept"
            self._find("wrong", f"the child ({how}) ended with {outcome!r}, not {self._cast.right[2]}", self._child)

    def _judge_acts(self, path: str, log: Sequence[LogEvent]) -> None:
        """Nothing acts in a pause, except in a worker that had lost the instance before it."""
        spans = [each for each in self._spans if each.instance == path]
        sure = _driven_by_one(log)
        for act in read_acts(self._scene.folder)[0] if spans else ():
            if act.instance == path and act.activity in sure and any(each.begin < act.at < each.end for each in spans):
                self._find("wrong", f"{act.what} of {act.activity} at {act.at:.3f}, in a pause", path)

    def _find(self, kind: str, text: str, path: str = "") -> None:
        self._scene.find(kind, text[:400], path or self._root)


def _was_cancelled(log: Sequence[LogEvent]) -> bool:
    return any(isinstance(event, WorkflowCancelled) and event.reason != TERMINATED for event in log)


def _driven_by_one(log: Sequence[LogEvent]) -> set[str]:
    """The activities whose attempts no other worker had begun when the next pause began."""
    sure, open_ones = set[str](), set[str]()
    for event in log:
        match event:
            case ActivityScheduled() | CompensationScheduled():
                open_ones.add(event.id)
            case OwnerChanged(pause="begins"):
                sure |= open_ones
            case OwnerChanged(pause=""):
                sure.clear()
                open_ones.clear()
            case _:
                pass
    return sure | open_ones


def strange_in_pauses(log: Sequence[LogEvent]) -> list[str]:
    """Return what a log has in its pauses although it is not to be there, and which pauses do not fit."""
    found, is_paused, is_first = list[str](), False, True
    for event in log:
        match event:
            case OwnerChanged(pause="begins"):
                if is_paused:
                    found.append("a pause begins in a pause")
                is_paused, is_first = True, False
            case OwnerChanged(pause="ends"):
                if not is_paused and not is_first:
                    found.append("a pause ends that has not begun")
                is_paused, is_first = False, False
            case OwnerChanged():
                pass
            case WorkflowRetried():
                is_paused = False
            case WorkflowCancelled(reason=reason) if reason == TERMINATED:
                is_paused = False
            case _ if is_paused:
                found.append(f"{type(event).__name__} {getattr(event, 'id', '')} is in a pause")
                is_paused = not isinstance(event, TERMINAL)
            case _:
                pass
    return found


def early_in(log: Sequence[LogEvent]) -> list[str]:
    """Return which timers of a log rang early: before they were due, put off by each pause that stopped their time."""
    due, frozen, found = dict[str, int](), None, list[str]()
    for event in log:
        match event:
            case TimerStarted(id=id, due=at):
                due[id] = at
            case OwnerChanged(at=at, pause="begins", freeze=freeze):
                frozen = at if freeze else None
            case OwnerChanged(at=at, pause="ends") if frozen is not None:
                due = {id: when + max(at - frozen, 0) for id, when in due.items()}
                frozen = None
            case TimerFired(id=id, at=at, again=False) if at < due.get(id, at):
                found.append(f"timer {id} rang {due[id] - at} microseconds before it was due")
            case _:
                pass
    return found
