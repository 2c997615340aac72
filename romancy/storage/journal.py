"""The service for log lines: what user code has logged about an instance, kept beside its log of events.

No line decides anything, and no commit waits for one. Lines are numbered where they are written, each behind all that
others can see. So a reader that goes on behind a number misses none, however late a line comes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["LINES_AT_ONCE", "Journal", "KeptLine", "NewLine"]

LINES_AT_ONCE: Final = 1000
"""How many lines one call writes or reads at most."""


class NewLine(NamedTuple):
    """A line that is to be kept."""

    instance_id: str
    life: int
    mark: str
    """A unique mark, by which a line that is sent again is known."""
    at: int
    """When it was logged."""
    body: bytes


class KeptLine(NamedTuple):
    """A line of the present life of an instance."""

    life: int
    number: int
    """Counts up, with gaps."""
    mark: str
    at: int
    body: bytes


class Journal(Protocol):
    """Keeps the newest lines of each instance. They are removed with the instance, and with a life of it."""

    async def put(self, lines: Sequence[NewLine], /, *, keep: int, again: bool = False) -> list[NewLine]:
        """Write lines in their order, in one transaction, and remove all but the `keep` newest of these instances.

        Returns those that were not written, because there is no instance of this life. `again`: a former call with
        some of these lines may have written them. They are not written twice.
        """
        ...

    async def lines(self, instance_id: str, /, *, after: tuple[int, int] = (0, 0), limit: int = 200) -> list[KeptLine]:
        """The oldest lines of the present life behind a place, which is a life and a number.

        All lines are behind a place of another life.
        """
        ...

    async def newest(self, instance_id: str, /, *, limit: int = 200) -> list[KeptLine]:
        """The newest lines of the present life, the oldest of them first."""
        ...
