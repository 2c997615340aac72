"""Runs a workflow whose worker is killed after each of its commits, and compares the outcomes."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar, overload

from romancy.errors import UsageError, WorkflowCancelledError, WorkflowFailedError
from romancy.testing._app import TestApp
from romancy.testing._processes import Processes
from romancy.workflow import Call

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from romancy.handle import Handle
    from romancy.testing._calls import Calls
    from romancy.workflow import Workflow

    Prepare = Callable[[TestApp], object]
    Drive = Callable[[TestApp, Handle[Any]], Awaitable[object]]

__all__ = ["Crash", "crash_at_every_commit"]

P = ParamSpec("P")
T = TypeVar("T")

_MOST: Final = 1000


@dataclass(frozen=True, slots=True)
class Crash:
    """One run of the workflow, whose worker was killed after a commit."""

    commit: int
    """Which commit it was, counted from 1."""
    result: Any
    """What the workflow returned; the text of its error if it failed."""
    effects: Any
    """What `effects` returned after the run."""


@overload
async def crash_at_every_commit(
    call: Call[Any],
    /,
    *,
    workflows: Iterable[Workflow[..., Any]] | None = None,
    prepare: Prepare | None = None,
    drive: Drive | None = None,
    effects: Callable[[], object] | None = None,
    url: str | None = None,
) -> list[Crash]: ...
@overload
async def crash_at_every_commit(call: Workflow[P, T], /, *args: P.args, **kwargs: P.kwargs) -> list[Crash]: ...
async def crash_at_every_commit(call: Any, /, *args: Any, **kwargs: Any) -> list[Crash]:
    """Run a workflow once undisturbed, and then once for each of its commits with a crash after that commit.

    Fails with an AssertionError unless each run ends as the first one did, and makes the same calls of activities.
    Arguments are not compared, because they may hold ids of the run; the result should hold none. An activity that
    executes during the crash is made again, so it may run twice. With options, give the call as `workflow.bind(…)`:

    - `workflows`: what the app knows; without it, the workflow alone.
    - `prepare(app)` is called before each run, to mock activities and to clear what `effects` looks at.
    - `drive(app, handle)` is awaited beside each run, to send signals. It is called again after the crash.
    - `effects()` returns what is compared after each run, such as the rows of a fake database.
    - `url`: a database, such as a new SQLite file. The workers are processes then, which are killed. The workflow and
      its activities are imported there, nothing is mocked, and time passes as it does.
    """
    given = _is_call(call)
    bound: Call[Any] = call if given else call.bind(*args, **kwargs)
    options = kwargs if given else {}
    test = _Test(bound, **options)
    before = await test.run(0)
    assert before is not None  # noqa: S101 - a run without a crash ends
    crashes: list[Crash] = []
    for commit in range(1, _MOST):
        after = await test.run(commit)
        if after is None:
            return crashes
        _compare(test, before, after, commit)
        crashes.append(Crash(commit, after.result, after.effects))
    raise UsageError(f"workflow {bound.workflow.name} makes more than {_MOST} commits: give it less to do in this test")


def _is_call(given: object) -> bool:
    return isinstance(given, Call)


@dataclass(frozen=True, slots=True)
class _Run:
    """The outcome and the calls of a run."""

    result: Any
    calls: Counter[str]
    effects: Any


class _Test:
    """The runs of one test."""

    def __init__(
        self,
        call: Call[Any],
        *,
        workflows: Iterable[Workflow[..., Any]] | None = None,
        prepare: Prepare | None = None,
        drive: Drive | None = None,
        effects: Callable[[], object] | None = None,
        url: str | None = None,
    ) -> None:
        self.call = call
        self._workflows = [call.workflow] if workflows is None else list(workflows)
        self._prepare = prepare
        self._drive = drive
        self._effects = effects
        self._processes: Processes | None = None
        if url is not None:
            if prepare is not None or drive is not None:
                raise UsageError("prepare= and drive= are for tests in memory: with url=, other processes do the work")
            self._processes = Processes(url, self._workflows)

    async def run(self, commit: int) -> _Run | None:
        """Run the workflow with a crash after that commit (0: without one). None if it makes fewer commits."""
        if self._processes is not None:
            result = await self._processes.run(self.call, commit)
            return None if result is None else _Run(result, Counter(), self._looked())
        async with TestApp(self._workflows) as app:
            if self._prepare is not None:
                self._prepare(app)
            died = app.dies_after(commit) if commit else asyncio.Event()
            (handle,) = await self._begun(app, died)
            ended = await self._until(app, handle, died)
            if commit and not died.is_set():
                return None
            if died.is_set():
                await app.crash()
                ended = await self._until(app, handle, asyncio.Event())
            return _Run(ended, _counted(app.calls), self._looked())

    async def _begun(self, app: TestApp, died: asyncio.Event) -> list[Handle[Any]]:
        """Start it. If the worker dies after the start, the start is durable nevertheless."""
        call = self.call.workflow.options(instance_id="crash-test")
        bound = Call(call, self.call.args, self.call.kwargs)
        starting = asyncio.create_task(app.start_many([bound]))
        await _first(starting, asyncio.create_task(died.wait()))
        return [app.handle("crash-test", self.call.workflow)] if died.is_set() else await starting

    async def _until(self, app: TestApp, handle: Handle[Any], died: asyncio.Event) -> Any:
        """Its outcome; None if its worker has died."""
        driving = asyncio.create_task(_driven(self._drive, app, handle))
        ending = asyncio.create_task(_end_of(handle))
        await _first(ending, asyncio.create_task(died.wait()))
        driving.cancel()
        await asyncio.wait([driving, ending])
        if not driving.cancelled():
            driving.result()
        return None if ending.cancelled() else ending.result()

    def _looked(self) -> Any:
        return None if self._effects is None else self._effects()


async def _first(wanted: asyncio.Task[Any], other: asyncio.Task[Any]) -> None:
    """Wait for one of the two, and cancel the one that is not done."""
    done, _ = await asyncio.wait([wanted, other], return_when=asyncio.FIRST_COMPLETED)
    for task in (wanted, other):
        if task not in done:
            task.cancel()


async def _driven(drive: Drive | None, app: TestApp, handle: Handle[Any]) -> None:
    if drive is not None:
        await drive(app, handle)


async def _end_of(handle: Handle[Any]) -> Any:
    try:
        return await handle.result()
    except (WorkflowFailedError, WorkflowCancelledError) as error:
        return f"{type(error).__name__}: {error}"


def _counted(calls: Calls) -> Counter[str]:
    return Counter(f"{call.activity} ({call.activity_id})" for call in calls)


def _compare(test: _Test, before: _Run, after: _Run, commit: int) -> None:
    where = f"workflow {test.call.workflow.name}, killed behind commit {commit}"
    if after.result != before.result:
        raise AssertionError(f"{where}: it ended with {after.result!r}, and without a crash with {before.result!r}")
    for wrong, what in ((after.calls, "made"), (before.calls, "did not make")):
        others = before.calls if wrong is after.calls else after.calls
        if extra := sorted(wrong.keys() - others.keys()):
            raise AssertionError(f"{where}: it {what} the call {extra[0]}, unlike the run without a crash")
    if after.effects != before.effects:
        raise AssertionError(
            f"{where}: its effects are {after.effects!r}, and without a crash they are {before.effects!r}"
        )
