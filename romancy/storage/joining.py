"""A caller's transaction, as a store joins it: the driver's connection, and how to reach it.

A library that wraps connections registers in the entry-point group `romancy.sessions`. An entry point is named after
the library's import package and points to a `Joiner`. It gets every object whose class is of that package.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar, cast

from romancy.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    AtEnd: TypeAlias = Callable[[Callable[[], None]], None]

__all__ = ["BUSY", "CANNOT_WRITE", "GROUP", "Elsewhere", "Joined", "Joiner", "Run", "here", "joined"]

GROUP = "romancy.sessions"

BUSY = (
    "session= was given a connection on which another statement is under way, or whose result is not read to its end; "
    "await it first, one statement after the other"
)
CANNOT_WRITE = "session= was given a connection that can only read; begin a transaction that may write"

T = TypeVar("T")


class Run(Protocol):
    """Carries out blocking work where the connection may be used: here, or in another thread."""

    def __call__(self, work: Callable[[], T], /) -> Awaitable[T]:
        """Return what the work returns, or raise what it raises."""
        ...


async def here(work: Callable[[], T], /) -> T:
    """Carry out the work in this thread, at once."""
    return work()


@dataclass(frozen=True, slots=True)
class Joined:
    """A driver's connection in a transaction that its owner ends. The store only writes on it."""

    connection: object
    """The driver's own object."""
    run: Run = here
    """Runs calls of a connection without `async` methods."""
    at_end: AtEnd | None = None
    """Registers a function to be called once after the end of the transaction, in any thread. None: the end is not
    announced.
    """

    @classmethod
    def of(cls, given: object) -> Joined:
        """The given `Joined`, or a connection of which nothing else is known."""
        return given if isinstance(given, Joined) else cls(given)


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A session or connection of another thread, which carries out work while it waits."""

    session: object
    run: Run


class Joiner(Protocol):
    """Finds the driver's connection in a library's session, and begins the transaction on it if needed.

    It never ends a transaction. Raises UsageError, with nothing written, for what cannot be joined.
    """

    def __call__(self, session: object, run: Run, /) -> Awaitable[Joined]:
        """`run` is for sessions that block."""
        ...


async def joined(session: object) -> object:
    """The argument for a store: `Joined`, or the session itself if it is of no known library."""
    run: Run = here
    if isinstance(session, Elsewhere):
        run, session = session.run, session.session
    joiner = _joiner_of(type(session))
    if joiner is not None:
        return await joiner(session, run)
    return session if run is here else Joined(session, run)


def _joiner_of(kind: type) -> Joiner | None:
    for base in kind.__mro__:
        joiner = _registered(base.__module__.partition(".")[0])
        if joiner is not None:
            return joiner
    return None


@cache
def _registered(package: str) -> Joiner | None:
    for point in entry_points(group=GROUP, name=package):
        try:
            return cast("Joiner", point.load())
        except ImportError as error:
            raise UsageError(f"session= was given an object of {package}, but {point.value} fails: {error}") from error
    return None
