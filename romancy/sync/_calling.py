"""What the classes of this package share: calls of the object with `await` behind each, and apps that are opened."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Self

from romancy._access import check_place
from romancy._interrupts import closed_by
from romancy.errors import UsageError
from romancy.session import Session, SyncSession
from romancy.storage.joining import Elsewhere
from romancy.sync._thread import Errands, LoopThread, refuse_loop
from romancy.workflow import Workflow

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from types import TracebackType

    from romancy.app import Romancy

__all__ = ["Caller", "Keeper"]

_END = object()


class Caller(ABC):
    """Calls methods of an object that lives on the loop of an app."""

    @property
    @abstractmethod
    def _keeper(self) -> Keeper: ...

    @property
    @abstractmethod
    def _target(self) -> Any: ...

    def _call(self, name: str, /, *args: Any, **kwargs: Any) -> Any:
        """Call a method, and wait for what it returns. A session in `session=` is used in this thread alone."""
        given = kwargs.get("session")
        errands = None
        if isinstance(given, SyncSession):
            given = kwargs["session"] = given.awaiting
        if given is not None and self._joins(name, args) and not isinstance(given, Session):
            errands = Errands()
            kwargs["session"] = Elsewhere(given, errands)
        target = self._target
        return self._keeper.wait(
            f"{type(self).__name__}.{name}", lambda: getattr(target, name)(*args, **kwargs), errands
        )

    def _joins(self, name: str, args: tuple[Any, ...]) -> bool:
        """Whether `session=` is Romancy's option, and no parameter of the workflow that is started."""
        if name not in ("start", "run") or not args:
            return True
        wf = self._target.workflow(args[0]) if isinstance(args[0], str) else args[0]
        return not (isinstance(wf, Workflow) and "session" in wf.signature.names)

    def _each(self, name: str, /, *args: Any, **kwargs: Any) -> Iterator[Any]:
        """Go through what an asynchronous iterator yields, and close it."""
        what, target = f"{type(self).__name__}.{name}", self._target
        items: Any = None

        async def following() -> Any:
            nonlocal items
            if items is None:
                items = getattr(target, name)(*args, **kwargs)
            return await anext(items, _END)

        async def close() -> None:
            if hasattr(items, "aclose"):
                await items.aclose()

        try:
            while (item := self._keeper.wait(what, following)) is not _END:
                yield item
        finally:
            if items is not None and self._keeper.is_open:
                self._keeper.wait(what, close)


class Keeper(Caller):
    """An app on a loop of its own, in a thread. Open it with `with`, or with `open()` and `close()`."""

    def __init__(self, make: Callable[[], Romancy]) -> None:
        self._make = make
        self._app = make()
        self._thread: LoopThread | None = None
        self._left: list[object] = []
        """What a fork has left behind. To collect it would close what belongs to the parent process."""

    @property
    def _keeper(self) -> Keeper:
        return self

    @property
    def _target(self) -> Romancy:
        return self._app

    @property
    def is_open(self) -> bool:
        """Whether the app was opened, by this process."""
        return self._thread is not None and self._thread.is_of_this_process and self._app.is_open

    def open(self) -> Self:
        """Open the app, and return it. A forked child may open it again, but not on an SQLite file."""
        refuse_loop("open()")
        if self._thread is not None and not self._thread.is_of_this_process:
            self._left += [self._app, self._thread]
            self._app, self._thread = self._make(), None
        if self._thread is not None:
            raise UsageError("this app is open already; make another one for a second connection")
        check_place(None)
        thread = LoopThread(self._leave)
        try:
            thread.call(self._app.__aenter__())
        except BaseException:
            thread.stop()
            raise
        self._thread = thread
        return self

    def close(self) -> None:
        """Drain the app for at most `drain_timeout` seconds, and close it. An app that is not open stays as it is."""
        self._end(None, None, None)

    def as_client(self) -> Self:
        """A new app on the same database, with the same workflows and codecs and without a worker. It is not open."""
        client = type(self).__new__(type(self))
        Keeper.__init__(client, self._app.as_client)
        return client

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._end(kind, error, trace)

    def _end(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        refuse_loop("close()")
        if self._thread is None:
            return
        thread = self._opened("close()")
        closed_by(error)
        self._thread = None
        if thread.has_ended:
            return
        try:
            thread.call(self._app.__aexit__(kind, error, trace))
        finally:
            thread.stop()

    async def _leave(self) -> None:
        """The interpreter ends: give back what is held, as far as that takes no time."""
        if self._app.is_open:
            await self._app.__aexit__(SystemExit, SystemExit(), None)

    def _opened(self, what: str) -> LoopThread:
        if self._thread is None:
            raise UsageError(f"{what}: this app is not open: use it inside `with app:`, or after `app.open()`")
        if not self._thread.is_of_this_process:
            raise UsageError(
                f"{what}: this app was opened before this process was forked, and its loop stayed in the parent; open "
                "the app after the fork, in each child: in gunicorn's post_fork, or in Celery's worker_process_init"
            )
        return self._thread

    def wait(self, what: str, begin: Callable[[], Any], errands: Errands | None = None) -> Any:
        """Carry out a call on the loop, and wait for what it returns."""
        refuse_loop(what)
        thread = self._opened(what)
        if thread.has_ended:
            raise UsageError(
                f"{what}: the interpreter is ending and has closed this app, so nothing can be asked of it any more. "
                "Make the call before the end of the program"
            )
        return thread.call(_finished(begin), errands)


def _finished(begin: Callable[[], Any]) -> Coroutine[Any, Any, Any]:
    async def call() -> Any:
        result = begin()
        return await result if hasattr(result, "__await__") else result

    return call()
