"""Gives a thread to runs and back to its host: the host's task, its generator hooks and the seams of asyncio.

This costs more than most drives. Code that drives many runs in a row does it once for all of them: `with driving():`.
Where other code of the host runs between them, hooks and seams alone may stay exchanged (`ThreadState.stays`).
"""

from __future__ import annotations

import asyncio
import asyncio.tasks
import gc
import sys
import threading
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from romancy.core.loop import stable
from romancy.core.loop.generators import OWNERS, Owner
from romancy.core.loop.stable import seams

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from romancy.core.loop.generators import Generator
    from romancy.errors import NonDeterminismError

__all__ = ["Running", "ThreadState", "driving", "is_alone", "is_in_a_workflow", "running_loop", "threads"]

_swap_current_task: Any = getattr(asyncio.tasks, "_swap_current_task", None)
_ONE_TASK: Final = sys.version_info >= (3, 14)
"""Whether a thread has one current task, and not one for each loop."""


class Running(Owner, Protocol):
    """The loop of the run that a thread drives."""

    @property
    def commands(self) -> Any:
        """What the code that runs can ask for."""
        ...

    def enter(self) -> None:
        """Make this the running loop of the thread, until `leave`."""
        ...

    def leave(self) -> None:
        """Give the thread back with its former running loop."""
        ...

    def refuse(self, call: str, instead: str = "", /) -> NonDeterminismError:
        """Record that the run tried to leave the loop, even if user code swallows the error."""
        ...

    def meet_generator(self, generator: Generator, /) -> None:
        """Record that a generator begins."""
        ...


class ThreadState:
    """A thread: how many drives have entered it, and the state of its host."""

    __slots__ = ("_hooks", "_ours", "_task", "depth", "host", "is_in", "running", "stays")

    def __init__(self) -> None:
        self.running: Running | None = None
        """The loop of the run that is being driven."""
        self.host: asyncio.AbstractEventLoop | None = None
        """The loop that runs here when no run is being driven."""
        self.depth = 0
        self.stays = False
        """Whether hooks and seams stay exchanged after a drive, until `give_back`. Other code of the host may run then:
        the seams look for the loop of a run, and the hooks pass generators of others on to those of the host."""
        self.is_in = False
        """Whether hooks and seams are exchanged."""
        self._task: asyncio.Task[Any] | None = None
        self._hooks: Any = ()
        """The host's."""
        self._ours: Any = ()
        """Those that pass on to them what is not a run's."""

    def enter(self) -> None:
        """Enter the thread. The first to enter takes the host off its loop."""
        if not self.depth:
            self.host = asyncio._get_running_loop()
            if _ONE_TASK:
                self._leave_host()
            hooks = sys.get_asyncgen_hooks()
            if hooks != self._ours:  # also where code of the host has set its own since the last drive
                if hooks != self._hooks:
                    self._hooks = first_step, finalizer = _of_the_host(hooks)
                    self._ours = partial(_meet, first_step), partial(_abandon, finalizer)
                sys.set_asyncgen_hooks(*self._ours)
            seams.lock.acquire()  # `with` costs twice as much
            try:
                seams.drives += 1
                if seams.drives == 1:
                    seams.collects = gc.isenabled()
                    gc.disable()
                if not self.is_in:
                    self.is_in = True
                    seams.needs += 1
                    if seams.needs == 1:
                        for namespace, name, value in stable.STABLE:
                            namespace[name] = value
            finally:
                seams.lock.release()
        self.depth += 1

    def leave(self) -> None:
        """Leave the thread. The last to leave restores everything that does not stay."""
        self.depth -= 1
        if not self.depth:
            if not self.stays:
                self.give_back()
            seams.lock.acquire()
            try:
                seams.drives -= 1
                if seams.drives == 0 and seams.collects:
                    gc.enable()
            finally:
                seams.lock.release()
            if self._task is not None:
                _swap_current_task(self.host, self._task)
                self._task = None
            self.host = None

    def give_back(self) -> None:
        """Give hooks and seams back, which do not stay any more."""
        self.stays = False
        if self.is_in and not self.depth:
            hooks = sys.get_asyncgen_hooks()
            sys.set_asyncgen_hooks(*(self._hooks if hooks == self._ours else _of_the_host(hooks)))
            self.is_in = False
            seams.lock.acquire()
            try:
                seams.needs -= 1
                if seams.needs == 0:
                    for namespace, name, value in stable.ORIGINAL:
                        namespace[name] = value
            finally:
                seams.lock.release()

    def _leave_host(self) -> None:
        """Take the host's task off its loop: no other loop may run a task while it is there."""
        if self.host is not None:
            self._task = asyncio.current_task(self.host)
            if self._task is not None:
                _swap_current_task(self.host, None)


def _meet(first_step: Callable[[Generator], object] | None, generator: Generator) -> None:
    """A generator takes its first step: it belongs to the run that is being driven, or to the host, with its hook."""
    running = threads.state.running
    if running is not None:
        running.meet_generator(generator)
        return
    OWNERS.pop(id(generator), None)  # of a generator that has ended, at the same address
    if first_step is not None:
        first_step(generator)


def _abandon(finalizer: Callable[[Generator], object] | None, generator: Generator) -> None:
    owner = OWNERS.pop(id(generator), None)
    if owner is not None:
        owner.abandon_generator(generator)
    elif finalizer is not None:
        finalizer(generator)


def _of_the_host(hooks: Iterable[Any]) -> tuple[Any, Any]:
    """The host's hooks: these, or what they pass on to."""
    first_step, finalizer = hooks
    if getattr(first_step, "func", None) is _meet:
        first_step = first_step.args[0]
    if getattr(finalizer, "func", None) is _abandon:
        finalizer = finalizer.args[0]
    return first_step, finalizer


class _Threads(threading.local):
    """`threads.state` is the state of the current thread."""

    def __init__(self) -> None:
        self.state = ThreadState()


threads = _Threads()


class driving:  # noqa: N801 - read as a verb: `with driving():`
    """Drive several runs in a row. Between them the block must be synchronous and iterate no async generator."""

    __slots__ = ("_thread",)

    def __enter__(self) -> None:
        self._thread = threads.state
        self._thread.enter()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._thread.leave()


def running_loop() -> Running | None:
    """The loop of the run that this code belongs to; None outside of any workflow."""
    return threads.state.running


def is_alone() -> bool:
    """Whether this is the only thread of Python."""
    return threading.active_count() == 1


def is_in_a_workflow() -> bool:
    """Whether the code of a workflow runs."""
    return threads.state.running is not None
