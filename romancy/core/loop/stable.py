"""Gives tasks and futures one order in a set, independent of their addresses, through seams in asyncio and anyio.

Addresses in memory differ from process to process, and a replay must not. The seams are the places in asyncio and anyio
that keep such sets, or put coroutines into one.

The names below are exchanged only while a run is being driven, and only for code that runs on a deterministic loop.
Other threads find the original behaviour.
"""

from __future__ import annotations

import _thread
import asyncio
import asyncio.events
import asyncio.tasks
import math
import sys
import threading
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any, TypeVar

import anyio._backends._asyncio as anyio_backend

from romancy.core.loop.numbered import OF_ANYIO
from romancy.errors import NonDeterminismError

if sys.platform != "win32":
    import _posixsubprocess

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

__all__ = [
    "StableFuture",
    "StableTask",
    "error_of",
    "leaves_the_loop",
    "make_future",
    "result_of",
    "seams",
    "strike_off",
    "whereabouts",
]

T = TypeVar("T")

strike_off: Any = getattr(asyncio.tasks, "_unregister_task")  # noqa: B009 - absent from the type stubs
"""asyncio lists every task of the process, for `all_tasks`. A run lists only its own, and only for its own code."""

_FUTURE: Any = asyncio.Future
make_future: Callable[..., None] = _FUTURE.__init__
"""Makes the future of an object whose class is one, on a loop."""
error_of: Callable[[Any], BaseException | None] = _FUTURE.exception
"""The error of a task that is done: what its own method says, without that method's frame."""
result_of: Callable[[Any], Any] = _FUTURE.result


class StableFuture(asyncio.Future[T]):
    """A future that hashes by a number of its run, drawn when it is first put into a set."""

    __slots__ = ("_number",)

    _number: int

    def __hash__(self) -> int:
        try:
            return self._number
        except AttributeError:
            loop: Any = self.get_loop()
            number: int = loop.number()
            self._number = number
            return number


class StableTask(asyncio.Task[T]):
    """A task that hashes and is named by its number within the run, and knows the context it runs in."""

    __slots__ = ("_number", "context")

    def __init__(
        self, coro: Coroutine[Any, Any, T], loop: Any, name: str | None = None, context: Context | None = None
    ) -> None:
        self._number: int = loop.number()
        self.context = copy_context() if context is None else context
        super().__init__(coro, loop=loop, name=name or f"task-{self._number}", context=self.context)
        strike_off(self)

    def __hash__(self) -> int:
        return self._number


def whereabouts(task: StableTask[Any]) -> str:
    """Where the task stands, in words."""
    frames = task.get_stack()
    awaited = getattr(task, "_fut_waiter", None)
    place = f"{frames[-1].f_code.co_qualname}, line {frames[-1].f_lineno}" if frames else "an unknown place"
    return f"{task.get_name()} in {place}, awaiting {type(awaited).__name__}"


def leaves_the_loop(call: str, instead: str = "") -> NonDeterminismError:
    return NonDeterminismError(
        f"{call} was called in a workflow. It would give another answer on replay: "
        f"{instead or 'move it into an activity'}."
    )


def _running() -> Any:
    """The deterministic loop this code runs on, or None."""
    loop = asyncio._get_running_loop()
    return loop if hasattr(loop, "number") else None


def _stable_set(items: Iterable[Any] = ()) -> Any:
    """The `set` of asyncio.tasks. Coroutines hash by address, so they keep their order instead."""
    running = _running()
    if running is None:
        return set(items)
    if isinstance(items, (set, frozenset)) and any(map(asyncio.iscoroutine, items)):
        raise running.forbid("a set of coroutines has another order on each replay: await a list of them instead")
    ordered = dict.fromkeys(items)
    return ordered if any(map(asyncio.iscoroutine, ordered)) else set(ordered)


_GATHERING: Any = getattr(asyncio.tasks, "_GatheringFuture")  # noqa: B009 - absent from the type stubs


class _StableGathering(_GATHERING):  # type: ignore[misc]
    __slots__ = ("_number",)

    def __hash__(self) -> int:
        try:
            return self._number
        except AttributeError:
            number = getattr(self.get_loop(), "number", None)
            self._number: int = id(self) if number is None else number()
            return self._number


class _StableScope(anyio_backend.CancelScope):
    __slots__ = ("_number",)

    def __init__(self, *, deadline: float = math.inf, shield: bool = False) -> None:
        loop = _running()
        self._number: int = id(self) if loop is None else loop.number()
        super().__init__(deadline, shield)

    def __hash__(self) -> int:
        return self._number


_original_all_tasks = asyncio.all_tasks


def _all_tasks(loop: Any = None) -> set[asyncio.Task[Any]]:
    running = _running()
    if running is None or loop not in (None, running):
        return _original_all_tasks(loop)
    return set(running.unfinished())


def _refusing(call: str, start: Callable[..., Any]) -> Callable[..., Any]:
    def refuse_or_start(*args: Any, **kwargs: Any) -> Any:
        if _running() is not None:
            raise _running().refuse(call)
        return start(*args, **kwargs)

    return refuse_or_start


# `set` becomes a name of asyncio.tasks for good, with its ordinary meaning. Exchanging the value of a name costs
# nothing; adding and removing a name at every step would undo the interpreter's caches.
if not hasattr(asyncio.tasks, "set"):
    setattr(asyncio.tasks, "set", set)  # noqa: B010 - no name of the module as checkers know it

_THREAD_STARTS = [name for name in ("_start_new_thread", "_start_joinable_thread") if hasattr(threading, name)]
_RAW_STARTS = [name for name in ("start_new_thread", "start_new", "start_joinable_thread") if hasattr(_thread, name)]
_new_event_loop = _refusing("asyncio.new_event_loop()", asyncio.new_event_loop)
STABLE: list[tuple[Any, str, Any]] = [
    (namespace, name, value)
    for namespace, names in (
        (vars(asyncio.tasks), {"set": _stable_set, "_GatheringFuture": _StableGathering, "all_tasks": _all_tasks}),
        (vars(asyncio), {"all_tasks": _all_tasks, "new_event_loop": _new_event_loop}),
        (vars(asyncio.events), {"new_event_loop": _new_event_loop}),
        (vars(_thread), {name: _refusing(f"_thread.{name}()", vars(_thread)[name]) for name in _RAW_STARTS}),
        (vars(anyio_backend), {"CancelScope": _StableScope, **OF_ANYIO}),
        (vars(threading), {name: _refusing("Thread.start()", vars(threading)[name]) for name in _THREAD_STARTS}),
    )
    for name, value in names.items()
]
"""What is exchanged: the variables of a module, a name, and its stable value."""
if sys.platform != "win32":  # multiprocessing spawns through it, which the interpreter does not audit
    _spawns = vars(_posixsubprocess)
    STABLE.append((_spawns, "fork_exec", _refusing("Process.start()", _spawns["fork_exec"])))
ORIGINAL: list[tuple[Any, str, Any]] = [(namespace, name, namespace[name]) for namespace, name, _ in STABLE]


class Seams:
    """Counts the drives under way in all threads, and those who need the stable names: drives, and turns with drives.

    The first who needs the names puts them in, the last takes them out. While a run is driven, no garbage is collected.
    What is collected does not concern the runs, but when it is collected would: a foreign coroutine that is closed in
    the middle of a drive takes the run's loop for its own and asks it for a delay.

    `ThreadState` writes this, and nobody else: methods would cost two calls a drive.
    """

    __slots__ = ("collects", "drives", "lock", "needs")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.drives = 0
        self.needs = 0
        self.collects = False
        """Whether the collector is to run again after the last drive."""


seams = Seams()
