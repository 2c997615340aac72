"""A store as its parts see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from romancy_sqlite._connection import Tx
    from romancy_sqlite._file import SharedFile
    from romancy_sqlite._shared import Shared
    from romancy_sqlite._watch import Watch

__all__ = ["Reached"]

Result = TypeVar("Result")


class Reached(Protocol):
    """The way to a database. Each member raises `StorageUnavailableError` while the store is not open."""

    def run_read(self, work: Callable[[Tx], Result]) -> Coroutine[Any, Any, Result]:
        """Run queries on one snapshot of the database."""
        ...

    def run_write(
        self, work: Callable[[Tx], Result], *, weight: int = 3, lone: bool = False
    ) -> Coroutine[Any, Any, Result]:
        """Run work in a transaction. Small `lone` work may run on the caller's thread."""
        ...

    @property
    def shared(self) -> Shared:
        """The open database."""
        ...

    @property
    def file(self) -> SharedFile:
        """The same, as a file."""
        ...

    @property
    def watch(self) -> Watch:
        """The changes for this store's callers."""
        ...
