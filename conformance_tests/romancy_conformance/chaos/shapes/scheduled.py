"""Schedules, while operators pause, resume, trigger, backfill, change and delete them.

With `catchup="all"` and `overlap="allow"`, each tick has one run. With any rule, no tick has a run before its time, or
while its schedule is paused, and nothing is started after a deletion was answered.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from romancy import InstanceNotFoundError, StorageUnavailableError, WorkflowContext, WorkflowStuckError, workflow
from romancy_conformance.chaos.shapes.acts import FORMS, read_acts
from romancy_conformance.chaos.stage import stage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from romancy import Schedule, ScheduleHandle, Workflow
    from romancy_conformance.chaos.shapes.shape import Scene

__all__ = ["Scheduled"]

T = TypeVar("T")

_FOR_EVER: Final = datetime(9999, 1, 1, tzinfo=UTC)
_SECOND: Final = timedelta(seconds=1)
_MARGIN: Final = 0.5 * _SECOND
"""What a worker's estimate of the database's clock may be wrong by."""
_PATIENCE: Final = 300.0
"""Seconds in which a worker carries out what a schedule was told."""
_UNSURE: Final = 5.0
"""Seconds that an operator waits for what another call, which was given up, may undo."""
_ECHO: Final = 15.0
"""Seconds after which no call that was given up is carried out any more."""
_MOST_ACTS: Final = 5
_PAUSES: Final = (0.5, 5.0, 20.0)
"""Seconds between two acts, at most."""
_SHORT: Final = 2.0
"""The same where seconds are long."""
_LONG: Final = 90
"""Ticks of a long backfill. With 100 starts, the next run of the schedule begins."""
_GRACE: Final = 60.0
"""Seconds after which the instance of a deleted schedule ends."""
_PERIODS: Final = (_SECOND, _SECOND, 2 * _SECOND, 3 * _SECOND)
_ALL_PERIODS: Final = frozenset(_PERIODS)
_RULES: Final[tuple[tuple[str, str | float], ...]] = (
    *[("allow", "all")] * 8, ("allow", "one"), ("skip", "all"), ("skip", "one"), ("buffer_one", "all"),
    ("buffer_one", "none"), ("allow", 4.0),
)  # fmt: skip


async def _tick(ctx: WorkflowContext, nap: float, form: str) -> str:
    await ctx.sleep(nap)
    await FORMS[form](0)
    assert ctx.scheduled_at is not None
    return ctx.scheduled_at.isoformat()


_TICK: Final[dict[bool, Workflow[[float, str], str]]] = {
    False: workflow(version="1", name="shape_tick")(_tick),
    True: workflow(version="1", name="shape_tick_sealed")(_tick),
}


class Scheduled:
    """A schedule with short periods. Each of its runs does little, and returns."""

    def __init__(self, *, sealed: bool) -> None:
        self.name = "scheduled-sealed" if sealed else "scheduled"
        self.sealed = sealed
        self.workflows: tuple[Any, ...] = (_TICK[sealed],)

    async def play(self, scene: Scene) -> None:
        """Declare it, tell it things, delete it, perhaps once more, and look at what it has started."""
        operator, chance = _Operator(scene, _TICK[self.sealed]), scene.chance
        for life in range(chance.choice((1, 1, 2))):
            if life:
                await operator.waits_after_the_deletion()
            await operator.declares()
            for _ in range(chance.randint(1, _MOST_ACTS)):
                await asyncio.sleep(chance.random() * (chance.choice(_PAUSES) if stage.is_quick else _SHORT))
                await operator.acts()
                await operator.is_sure_again()
            await operator.deletes()
        await operator.sees_its_end()
        await operator.judges()


class _Stretch(NamedTuple):
    """A time in which it is known what the schedule does with ticks. The bounds are those of the database's clock."""

    period: timedelta
    paused: bool
    since: datetime
    until: datetime

    def ticks(self) -> Iterator[datetime]:
        return _multiples(self.period, self.since, self.until)


class _Run(NamedTuple):
    """An instance that the schedule has started."""

    instance: str
    tick: datetime
    is_triggered: bool
    told: Any

    @classmethod
    def of(cls, instance: str, told: Any) -> _Run:
        moment, mark, _ = instance.rpartition("@")[2].partition("!")
        return cls(instance, datetime.fromisoformat(moment), bool(mark), told)


class _Operator:
    """Tells a schedule things, each after the one before has been seen, and knows what must come of it."""

    def __init__(self, scene: Scene, tick: Workflow[[float, str], str]) -> None:
        chance = scene.chance
        self._scene = scene
        self._handle: ScheduleHandle = scene.app.schedule_handle(f"{scene.path}.s")
        self._period: timedelta = chance.choice(_PERIODS)
        self._overlap, self._catchup = chance.choice(_RULES)
        self._jitter = chance.choice((None, None, 0.4))
        self._call = tick.bind(chance.choice((0.0, 0.01, 0.3, 2.0)), chance.choice([*FORMS]))
        self._is_sure = True
        """No call that was given up can still change what is known."""
        self._is_declared_once = True
        """No declaration that was given up can still begin it again after its deletion."""
        self._paused = False
        self._periods = {self._period}
        self._known: _Stretch | None = None
        """What the schedule does now. None: it is not known."""
        self._stretches: list[_Stretch] = []
        self._filled: list[_Stretch] = []
        self._triggered = Counter[str]()

    # ── what it does ────────────────────────────────────────────────────────────────────────────────────────────

    async def declares(self) -> None:
        """Declare the schedule, as it is or as it was changed."""
        self._ends_a_stretch()
        await self._insists(self._declared, self._may_come_again)
        await self._sees(lambda _: True, "is declared")
        self._begins_a_stretch()

    async def acts(self) -> None:
        """Tell it one of the things that it can be told."""
        match self._scene.chance.choice(("pause", "pause", "change", "trigger", "backfill", "again")):
            case "pause" if not self._paused:
                await self._turns(lambda: self._handle.pause("the shape says so"), paused=True)
            case "pause":
                await self._turns(self._handle.resume, paused=False)
            case "change":
                self._period = self._scene.chance.choice(sorted(_ALL_PERIODS - {self._period}))
                self._periods.add(self._period)
                await self.declares()
            case "trigger":
                await self._triggers()
            case "backfill":
                await self._fills()
            case _:
                await self._declares_twice()

    async def deletes(self) -> None:
        """Delete it, perhaps while somebody else triggers it. Nothing is started after that was answered."""
        await self._ends_what_is_decided()
        beside = self._scene.chance.choice(("", "", "trigger", "backfill"))
        others: list[Awaitable[None]] = []
        if beside == "trigger":
            self._triggered["tried"] += 1
            others = [self._tries(lambda: self._handle.trigger(overlap="allow"))]
        elif beside == "backfill":
            self._filled.append(stretch := self._past(10))
            others = [self._tries(lambda: self._handle.backfill(stretch.since, stretch.until))]
        await asyncio.gather(self._insists(self._deleted), *others)
        there = await self._scene.insist(self._runs)
        await asyncio.sleep(self._scene.chance.choice((0.0, 1.0, 5.0)))
        late = sorted(await self._scene.insist(self._runs) - there)
        if late and self._is_declared_once:
            self._find("phantom", f"{late[0]} was started after the deletion of its schedule was answered")
        self._paused = False

    async def is_sure_again(self) -> None:
        """Wait until nothing that was given up can be carried out, and look what has become of the schedule.

        Orders are carried out in the order of the database's time: what is seen of the last one is behind all others.
        """
        if self._is_sure or not stage.is_quick or self._scene.chance.random() < 0.3:
            return
        self._ends_a_stretch()
        await self._hears_no_echo()
        note = f"look at {stage.moment()}"
        await self._insists(lambda: self._handle.pause(note))
        found = await self._until(partial(self._sees_if, lambda found: found.paused == note), "is paused")
        if found is not None and not stage.behind():
            self._paused = True
            self._period = next(each for each in self._periods if str(each) in found.timing)
            self._begins_a_stretch()

    async def waits_after_the_deletion(self) -> None:
        """Wait for any time, or for the moment at which the instance of the schedule ends."""
        chance = self._scene.chance
        if stage.is_quick:
            await asyncio.sleep(chance.choice((0.0, 1.0, _GRACE - 6.0 + chance.uniform(0.0, 8.0))))
        if not self._is_sure:  # a deletion that comes late must not meet the next declaration
            await self._hears_no_echo()

    async def sees_its_end(self) -> None:
        """Wait until its instance has ended, where that takes no time."""
        if not self._is_declared_once:
            await asyncio.sleep(_ECHO)
        if stage.is_quick and self._is_declared_once:
            outcome = await self._scene.outcome(self._handle.instance_id)
            since = asyncio.get_running_loop().time()
            while isinstance(outcome, WorkflowStuckError) and asyncio.get_running_loop().time() - since < _PATIENCE:
                await asyncio.sleep(1)  # a worker without the codec has met it; one that has the codec takes it again
                outcome = await self._scene.outcome(self._handle.instance_id)
            if outcome is not None:
                self._find("wrong", f"the instance of the deleted schedule ended with {outcome}")
        else:
            await self._scene.stop(lambda: self._scene.app.terminate(self._handle.instance_id))

    # ── what it finds ───────────────────────────────────────────────────────────────────────────────────────────

    async def judges(self) -> None:
        """Wait for the ends of all runs, and compare them with what must be there."""
        for instance in await self._scene.insist(self._runs):
            await self._scene.outcome(instance)
        runs = [_Run.of(*each) for each in (await self._scene.insist(self._results)).items()]
        ticks = {run.tick for run in runs if not run.is_triggered}
        for run in runs:
            if run.told != run.tick.isoformat():
                self._find("wrong", f"{run.instance} told {run.told} as its time")
        for tick in ticks:
            if not any(_is_multiple(tick, period) for period in self._periods):
                self._find("phantom", f"there is a run for {tick}, which was never due")
        self._judge_triggers(sum(run.is_triggered for run in runs))
        self._judge_stretches(ticks)
        self._judge_times({run.instance: run.tick for run in runs})

    def _judge_triggers(self, runs: int) -> None:
        least, most = self._triggered["sure"], self._triggered["tried"]
        if not least <= runs <= most:
            kind = "lost" if runs < least else "doubled"
            self._find(kind, f"it was triggered {least} to {most} times, and has started {runs} runs")

    def _judge_stretches(self, ticks: set[datetime]) -> None:
        for stretch in self._stretches:
            due = set(stretch.ticks())
            if stretch.paused:
                for tick in sorted(due & ticks):
                    if not any(tick in set(each.ticks()) for each in self._filled):
                        self._find("phantom", f"there is a run for {tick}, when its schedule was paused")
            elif (self._overlap, self._catchup) == ("allow", "all") and due - ticks:
                self._find("lost", f"there is no run for {min(due - ticks)}, nor for {len(due - ticks) - 1} others")

    def _judge_times(self, ticks: dict[str, datetime]) -> None:
        for act in read_acts(self._scene.folder)[0]:
            tick = ticks.get(act.instance)
            if tick is not None and stage.time_of_day(act.at) < tick - _MARGIN:
                self._find("wrong", f"{act.instance} acted at {stage.time_of_day(act.at)}, before its time")

    # ── how it does that ────────────────────────────────────────────────────────────────────────────────────────

    async def _declared(self) -> None:
        rules: Any = {"overlap": self._overlap, "catchup": self._catchup, "jitter": self._jitter}
        await self._scene.app.schedule(self._handle.id, self._call, every=self._period, **rules)

    async def _turns(self, call: Callable[[], Awaitable[object]], *, paused: bool) -> None:
        """Pause it, or let it go on."""
        self._ends_a_stretch()
        self._paused = paused
        await self._insists(call)
        await self._sees(lambda found: (found.paused is not None) == paused, "is paused" if paused else "goes on")
        self._begins_a_stretch()

    async def _declares_twice(self) -> None:
        """Declare it otherwise, and at once as it was: that holds, as the next act sees."""
        await self._ends_what_is_decided()
        for period in (self._scene.chance.choice(_PERIODS), self._period):
            self._period = period
            self._periods.add(period)
            await self._insists(self._declared, self._may_come_again)
        if stage.behind():  # messages have the order of the database's time
            self._is_sure = False

    async def _hears_no_echo(self) -> None:
        await asyncio.sleep(_ECHO)
        self._is_sure = self._is_declared_once = True

    def _may_come_again(self) -> None:
        self._is_declared_once = False

    async def _triggers(self) -> None:
        self._triggered["tried"] += 1
        before = self._triggered["tried"]
        await self._insists(lambda: self._handle.trigger(overlap="allow"), partial(self._triggered.update, ["tried"]))
        self._triggered["sure"] += 1
        if self._triggered["tried"] == before:
            await self._until(self._has_triggered, "starts the run of a trigger")

    async def _has_triggered(self) -> bool:
        return sum("!" in each for each in await self._runs()) >= self._triggered["sure"]

    async def _fills(self) -> None:
        """Backfill a stretch of the past, and wait for its runs."""
        stretch = self._past(_LONG if self._scene.chance.random() < 0.1 else 8)
        self._filled.append(stretch)
        await self._insists(lambda: self._handle.backfill(stretch.since, stretch.until))
        await self._until(partial(self._has_filled, set(stretch.ticks())), "starts the runs of a backfill")

    async def _has_filled(self, due: set[datetime]) -> bool:
        return due <= {run.tick for run in map(partial(_Run.of, told=None), await self._runs())}

    def _past(self, most: int) -> _Stretch:
        """A stretch of time that is over, with so many ticks at most."""
        chance = self._scene.chance
        until = self._surely_over() - timedelta(seconds=chance.uniform(0.0, 10.0))
        return _Stretch(self._period, self._paused, until - chance.uniform(0.0, most) * self._period, until)

    async def _deleted(self) -> None:
        """Delete it. It may be deleted already, by a call that was given up, or whose answer was lost."""
        with suppress(InstanceNotFoundError):
            await self._handle.delete()

    async def _insists(self, call: Callable[[], Awaitable[object]], failed: Callable[[], object] | None = None) -> None:
        """Make a call until it is answered. What was called before may be carried out at any time."""
        while True:
            try:
                await call()
            except StorageUnavailableError:
                self._is_sure = False
                if failed is not None:
                    failed()
                await asyncio.sleep(0.1)
            except InstanceNotFoundError:
                if self._is_sure:
                    self._find("lost", "there is no schedule, and nobody has deleted it")
                return
            else:
                return

    async def _tries(self, call: Callable[[], Awaitable[object]]) -> None:
        """Make a call beside a deletion, once: it is carried out or not."""
        try:
            await call()
        except (InstanceNotFoundError, StorageUnavailableError):
            return

    async def _sees(self, right: Callable[[Schedule], bool], what: str) -> None:
        """Wait until a worker has carried out what the schedule was told."""
        await self._until(
            partial(self._sees_if, lambda found: str(self._period) in found.timing and right(found)), what
        )

    async def _sees_if(self, right: Callable[[Schedule], bool]) -> Schedule | None:
        found = await self._handle.get()
        return found if found is not None and right(found) else None

    async def _until(self, look: Callable[[], Awaitable[T]], what: str) -> T | None:
        """Look until there is something to be seen. None: an operator who is not sure has given up.

        With leases of a second and many calls that hang, no worker may come to anything. What is not seen in time then
        has to be seen once the wires are reliable.
        """
        seen = await self._sees_within(_PATIENCE if self._is_sure else _UNSURE, look)
        if not seen and self._is_sure:
            stage.calm()
            seen = await self._sees_within(_PATIENCE, look)
            if not seen:
                self._find("stranded", f"nobody sees that the schedule {what}")
        if not seen:
            self._is_sure = False
        return seen

    async def _sees_within(self, patience: float, look: Callable[[], Awaitable[T]]) -> T | None:
        begun = stage.moment()
        while not (seen := await self._scene.insist(look)):
            if stage.moment() - begun > patience:
                return None
            await asyncio.sleep(0.2)
        return seen

    async def _runs(self) -> set[str]:
        return set(await self._results())

    async def _results(self) -> dict[str, Any]:
        found = self._scene.app.iter_instances(parent=self._handle.instance_id, with_results=True)
        return {one.instance_id: one.result async for one in found}

    def _begins_a_stretch(self) -> None:
        """All that the schedule was told is done: what comes from now on follows from it."""
        since = stage.time_of_day(stage.moment()) + _MARGIN
        self._known = _Stretch(self._period, self._paused, since, since) if self._is_sure else None

    async def _ends_what_is_decided(self) -> None:
        """As `_ends_a_stretch`, before something that does not start what is late."""
        found = await self._scene.insist(self._handle.get)
        if found is not None and found.next is not None:
            self._ends_a_stretch(found.next - datetime.resolution)
        elif self._paused:
            self._ends_a_stretch()
        self._known = None

    def _ends_a_stretch(self, decided: datetime = _FOR_EVER) -> None:
        """Something is told to the schedule now, and it is not known when that is done."""
        if self._known is not None:
            self._stretches.append(self._known._replace(until=min(self._surely_over(), decided)))
        self._known = None

    def _surely_over(self) -> datetime:
        """A moment that is over by any clock."""
        return stage.time_of_day(stage.moment() - stage.behind()) - _MARGIN

    def _find(self, kind: str, text: str) -> None:
        self._scene.find(kind, f"{text} ({self._overlap}, {self._catchup})", self._handle.instance_id)


def _is_multiple(tick: datetime, period: timedelta) -> bool:
    return (tick - datetime.fromtimestamp(0, UTC)) % period == timedelta(0)


def _multiples(period: timedelta, since: datetime, until: datetime) -> Iterator[datetime]:
    """The multiples of a period from one moment to another one."""
    tick = since + (datetime.fromtimestamp(0, UTC) - since) % period
    while tick <= until:
        yield tick
        tick += period
