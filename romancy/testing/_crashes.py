"""Runs a workflow whose worker is killed at each place in turn, and compares the outcomes."""

from __future__ import annotations

import asyncio
import inspect
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar, cast, overload

from romancy.engine.life_numbers import derived_life, lives_from
from romancy.errors import UsageError, WorkflowCancelledError, WorkflowFailedError
from romancy.testing._app import TestApp
from romancy.testing._processes import MOST_COMMITS, Processes
from romancy.testing._takes import check_takes
from romancy.workflow import Call

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Container, Coroutine, Iterable

    from romancy.handle import Handle
    from romancy.testing._calls import Calls
    from romancy.testing._mortal import Death
    from romancy.workflow import Workflow

    Prepare = Callable[[TestApp], object]
    Drive = Callable[[TestApp, Handle[Any]], Awaitable[object]]

__all__ = ["Crash", "crash_at_every_commit"]

P = ParamSpec("P")
T = TypeVar("T")

_MOST: Final = 3 * MOST_COMMITS
_ID: Final = "crash-test"


@dataclass(frozen=True, slots=True)
class Crash:
    """One run of the workflow, whose worker was killed at one place."""

    where: str
    """The place in words: "before activity pay (pay:1)", "after activity pay (pay:1) and before its commit", or
    "after commit 3"."""
    result: Any
    """What the workflow returned; the text of its error if it failed."""
    effects: Any
    """What `effects` returned after the run."""


@overload
async def crash_at_every_commit(
    call: Call[Any],
    /,
    *,
    workflows: Iterable[Workflow[..., Any] | type] | None = None,
    now: datetime | None = None,
    prepare: Prepare | None = None,
    drive: Drive | None = None,
    effects: Callable[[], object] | None = None,
    url: str | None = None,
) -> list[Crash]: ...
@overload
async def crash_at_every_commit(call: Workflow[P, T], /, *args: P.args, **kwargs: P.kwargs) -> list[Crash]: ...
async def crash_at_every_commit(call: Any, /, *args: Any, **kwargs: Any) -> list[Crash]:
    """Run a workflow once undisturbed, and then once for each place at which its worker can die.

    The places are: before each attempt at an activity, after it and before the commit that records it, and after each
    commit. Fails with an AssertionError unless each run ends as the first one did, makes the same calls of activities
    and has the same effects. An attempt that a crash interrupts is made again, so its effect happens twice unless the
    activity uses its idempotency key. Arguments of calls are not compared.

    An activity declared with `at_most_once=True` is not attempted again: its call raises ActivityUnknownError, and the
    workflow has to end in the same way all the same. Its attempts are not compared; what it did may be absent.

    All runs begin at the same time, and have the same ids, keys and random values. With options, give the call as
    `workflow.bind(…)`:

    - `workflows`: what the app knows; without it, the workflow alone.
    - `now`: the time at which each run begins; without it, the time of the machine when the test begins.
    - `prepare(app)` is called before each run, to mock activities and to clear what `effects` looks at.
    - `drive(app, handle)` is awaited beside each run, to send signals. It is called again after the crash.
    - `effects()` returns what is compared after each run, such as the rows of a fake database.
    - `url`: a database, such as a new SQLite file. The workers are processes then, which are killed. The workflow and
      its activities are imported there, nothing is mocked, and time passes as it does: the result must not hold it.
    """
    given = _is_call(call)
    bound: Call[Any] = call if given else call.bind(*args, **kwargs)
    options = kwargs if given else {}
    test = _Test(bound, **options)
    before = await test.run(0)
    assert before is not None  # noqa: S101 - a run without a crash ends
    crashes: list[Crash] = []
    for number in range(1, _MOST):
        after = await test.run(number)
        if after is None:
            return crashes
        _compare(test, before, after)
        crashes.append(Crash(after.where, after.result, after.effects))
    raise UsageError(
        f"workflow {bound.workflow.name} has more than {_MOST} places at which a worker can die: give it less to do in "
        "this test"
    )


def _is_call(given: object) -> bool:
    return isinstance(given, Call)


@dataclass(frozen=True, slots=True)
class _Run:
    """The outcome and the calls of a run."""

    where: str
    result: Any
    calls: Counter[str]
    effects: Any


class _MortalApp(TestApp):
    """An app whose worker dies at a chosen place, and whose lives have the same numbers in each run."""

    def dies_at(self, number: int, *, most: int) -> Death:
        """Let the worker die at the place of that number (0: at none). Count its commits up to `most`."""
        self._death.after(number, most=most)
        return self._death

    async def drive(self, drive: Drive | None, handle: Handle[Any]) -> None:
        """Call the driver of the test. The clock does not move between what it asks and what it answers."""
        if drive is not None:
            with self._opened_time().beside():
                await drive(self, handle)

    def next_life(self, instance_id: str) -> int:
        """The number of the next life of an id. It is another than that of the present one."""
        return derived_life(instance_id, _at_once(self._life_of(instance_id)))

    @property
    def begun_once(self) -> set[str]:
        """The names of the activities that are declared at most once."""
        return {one.name for one in self._registry.activities.values() if one.declared.at_most_once}

    async def _life_of(self, instance_id: str) -> int:
        await self._kept.open()
        history = await self._kept.read(instance_id, limit=0)
        await self._kept.close()
        return 0 if history is None else history.instance.life


def _at_once(answer: Coroutine[Any, Any, T]) -> T:
    """What a call of the store in memory returns. It waits for nothing, but may offer others to run."""
    try:
        while answer.send(None) is None:
            pass
    except StopIteration as ended:
        return cast("T", ended.value)
    raise AssertionError("the store in memory waits for something")


class _Test:
    """The runs of one test."""

    def __init__(
        self,
        call: Call[Any],
        *,
        workflows: Iterable[Workflow[..., Any] | type] | None = None,
        now: datetime | None = None,
        prepare: Prepare | None = None,
        drive: Drive | None = None,
        effects: Callable[[], object] | None = None,
        url: str | None = None,
    ) -> None:
        check_takes("prepare", prepare, "app")
        check_takes("drive", drive, "app", "handle")
        check_takes("effects", effects)
        self.call = call
        self._workflows = [call.workflow] if workflows is None else list(workflows)
        self._now = datetime.now(UTC) if now is None else now
        self._prepare = prepare
        self._drive = drive
        self._effects = effects
        self._processes: Processes | None = None
        if url is not None:
            if prepare is not None or drive is not None or now is not None:
                raise UsageError(
                    "prepare=, drive= and now= are for tests in memory: with url=, other processes do the work, "
                    "and time passes as it does"
                )
            self._processes = Processes(url, self._workflows)

    async def run(self, number: int) -> _Run | None:
        """Run the workflow with a crash at that place (0: without one). None if there are fewer places."""
        if self._processes is not None:
            ended = await self._processes.run(self.call, number)
            return None if ended is None else _Run(ended.where, ended.result, Counter(), await self._looked())
        app = _MortalApp(self._workflows, now=self._now, check_replay=not number)
        with lives_from(app.next_life):
            async with app:
                return await self._run_in(app, number)

    async def _run_in(self, app: _MortalApp, number: int) -> _Run | None:
        if self._prepare is not None:
            await _awaited(self._prepare(app))
        death = app.dies_at(number, most=MOST_COMMITS)
        handle = await self._begun(app, death)
        ended = await self._until(app, handle, death)
        if number and not death.happened.is_set():
            return None
        if number:
            await app.crash()
            again = app.dies_at(0, most=MOST_COMMITS)
            ended = await self._until(app, await self._begun(app, again), again)
        return _Run(death.where, ended, _counted(app.calls, app.begun_once), await self._looked())

    async def _begun(self, app: TestApp, death: Death) -> Handle[Any]:
        """Start it. The worker may die meanwhile: then it is started again."""
        call = self.call.workflow.options(instance_id=_ID)
        starting = asyncio.create_task(app.start_many([Call(call, self.call.args, self.call.kwargs)]))
        await _first(starting, death.happened)
        if not starting.cancelled():
            starting.result()  # raises what is wrong with the call
        return app.handle(_ID, self.call.workflow)

    async def _until(self, app: _MortalApp, handle: Handle[Any], death: Death) -> Any:
        """Its outcome; None if its worker has died."""
        driving = asyncio.create_task(app.drive(self._drive, handle))
        ending = asyncio.create_task(_end_of(handle))
        driving.add_done_callback(lambda _: _failed(driving) and ending.cancel())
        await _first(ending, death.happened, death.too_many)
        driving.cancel()
        await asyncio.wait([driving])
        if death.happened.is_set():
            return None
        if _failed(driving):
            driving.result()
        if ending.cancelled():
            raise AssertionError(_endless(self.call.workflow.name))
        return ending.result()

    async def _looked(self) -> Any:
        return None if self._effects is None else await _awaited(self._effects())


async def _awaited(answer: Any) -> Any:
    return await answer if inspect.isawaitable(answer) else answer


async def _first(wanted: asyncio.Task[Any], *others: asyncio.Event) -> None:
    """Wait until the task is done or one of the events is set. Then cancel the task if it is not done."""
    waits = [asyncio.create_task(other.wait()) for other in others]
    try:
        await asyncio.wait([wanted, *waits], return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (wanted, *waits):
            task.cancel()
        await asyncio.wait([wanted, *waits])


def _failed(task: asyncio.Task[Any]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is not None


async def _end_of(handle: Handle[Any]) -> Any:
    try:
        return await handle.result()
    except (WorkflowFailedError, WorkflowCancelledError) as error:
        return f"{type(error).__name__}: {error}"


def _counted(calls: Calls, begun_once: Container[str]) -> Counter[str]:
    """How often each call was attempted, without the activities that a crash may keep from being attempted."""
    return Counter(f"{call.activity} ({call.activity_id})" for call in calls if call.activity not in begun_once)


def _endless(name: str) -> str:
    return (
        f"workflow {name} has made {MOST_COMMITS} commits and has not ended: a crash test needs a workflow that ends. "
        "Give it less to do in this test, or let `drive` cancel it"
    )


def _compare(test: _Test, before: _Run, after: _Run) -> None:
    where = f"workflow {test.call.workflow.name}, killed {after.where}"
    if after.result != before.result:
        raise AssertionError(f"{where}: it ended with {after.result!r}, and without a crash with {before.result!r}")
    for wrong, what in ((after.calls, "made"), (before.calls, "did not make")):
        others = before.calls if wrong is after.calls else after.calls
        if extra := sorted(wrong.keys() - others.keys()):
            raise AssertionError(f"{where}: it {what} the call {extra[0]}, unlike the run without a crash")
    if after.effects != before.effects:
        raise AssertionError(
            f"{where}: its effects are {after.effects!r}, and without a crash they are {before.effects!r}. An effect "
            "that happens twice needs the idempotency key of its activity"
        )
