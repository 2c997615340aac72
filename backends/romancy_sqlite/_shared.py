"""What a store and its sessions need of a database: a file that several processes share, or one in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from romancy_sqlite._connection import Tx

__all__ = ["InlineWriter", "Shared"]

Result = TypeVar("Result")


class InlineWriter(Protocol):
    """Commits on the caller's thread, where the caller need not wait."""

    @property
    def quick(self) -> bool:
        """Whether commits are so short that the event loop's thread may make one."""
        ...

    def write_one(self, sql: str, row: Sequence[object], size: int) -> bool:
        """Commit one row of about this size on this thread. False if it was not written."""
        ...

    def run_inline(self, work: Callable[[Tx], Result], sql: dict[str, str], weight: int) -> tuple[Result] | None:
        """Commit lone work on this thread. None, with nothing done, if it could make the caller wait, or failed."""
        ...

    def wrote(self, weight: int) -> None:
        """Count the pages that a session has written."""
        ...


class Shared(Protocol):
    """The database behind one store or several."""

    @property
    def path(self) -> Path: ...

    @property
    def lock_timeout(self) -> float: ...

    @property
    def writer(self) -> InlineWriter: ...

    def now(self) -> int:
        """The database's time in microseconds. It never goes back."""
        ...

    def tell(self, instance_ids: set[str] | None) -> None:
        """From any thread: wake the callers that wait for these instances (None: any may have changed)."""
        ...

    def check_file(self) -> None:
        """Raise `DatabaseReplacedError` once the path leads to another file than the open one."""
        ...

    async def read(self, sql: dict[str, str], work: Callable[[Tx], Result]) -> Result:
        """Run queries on one snapshot of the database."""
        ...
