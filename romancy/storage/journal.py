"""The service for what is kept beside the log of an instance: lines of its code's logging, and what its streams hold.

No commit waits for a line. Lines are numbered where they are written, each behind all that others can see. So a reader
that goes on behind a number misses none, however late a line comes. Log lines and streams have ranges of numbers of
their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["LINES_AT_ONCE", "Behind", "Journal", "KeptLine", "NewLine", "Written", "is_there"]

LINES_AT_ONCE: Final = 1000
"""How many lines one call writes or reads at most."""


class NewLine(NamedTuple):
    """A line that is to be kept."""

    instance_id: str
    life: int
    mark: str
    """A unique mark, by which a line that is sent again is known.

    In streams it is `NAME-NUMBER`: the name is that of the writer, whose numbers count up in each instance.
    """
    at: int
    """When it was logged."""
    body: bytes
    owner: str = ""
    """Of a line of a stream: the token of the worker that has to own the instance."""


class KeptLine(NamedTuple):
    """A line of the present life of an instance."""

    life: int
    number: int
    """Counts up, with gaps. In streams: the place of the line's first byte among those of the instance, from 1."""
    mark: str
    at: int
    body: bytes


class Written(NamedTuple):
    """What became of lines of streams."""

    refused: list[NewLine]
    """Those that were not written: their life is over, or their writer no longer owns the instance."""
    sizes: dict[str, int]
    """How many bytes the streams of these instances hold, as stored."""
    places: dict[str, tuple[int, int]]
    """The number of each line that was written, by its mark, behind that of the line before it. 0: there was none."""


class Behind(NamedTuple):
    """What the streams of an instance hold behind a number, and how far its log was at that moment."""

    life: int
    """The life of the instance."""
    last: int
    """The last commit of its log."""
    lines: list[KeptLine]
    """All lines of the streams of the life that was asked for."""


class Journal(Protocol):
    """Keeps lines of each instance. They are removed with the instance, and with a life of it."""

    async def put(self, lines: Sequence[NewLine], /, *, keep: int, again: bool = False) -> list[NewLine]:
        """Write log lines in their order, in one transaction, and remove all but the `keep` newest of these instances.

        Returns those that were not written, because there is no instance of this life. `again`: a former call with
        some of these lines may have written them. They are not written twice.
        """
        ...

    async def lines(self, instance_id: str, /, *, after: tuple[int, int] = (0, 0), limit: int = 200) -> list[KeptLine]:
        """The oldest log lines of the present life behind a place, which is a life and a number.

        All lines are behind a place of another life.
        """
        ...

    async def newest(self, instance_id: str, /, *, limit: int = 200) -> list[KeptLine]:
        """The newest log lines of the present life, the oldest of them first."""
        ...

    async def write(self, lines: Sequence[NewLine], /) -> Written:
        """Write lines of streams in their order, in one transaction.

        `Upkeep.prune` removes those of former runs. Their numbers are not used again.

        A line is refused unless its writer owns the instance. If another worker has written behind the former owner, a
        line of that owner is never behind it. A line that is there is not written again: a writer has sent all lines
        with lower numbers before the last one that is there. So a call that comes late, behind its own repetition,
        writes nothing.
        """
        ...

    async def written(self, instance_id: str, life: int, /, *, after: int = 0, limit: int = 200) -> list[KeptLine]:
        """The oldest lines of the streams of a life behind a number."""
        ...

    async def written_behind(self, places: Sequence[tuple[str, int, int]], /, *, limit: int = 200) -> dict[str, Behind]:
        """What the streams of some ids and lives hold, each behind a number, by id.

        There is no answer for an id without an instance, nor for those that come when there are more lines than the
        limit: they have to be asked for by themselves.
        """
        ...

    async def empty(self, instances: Sequence[tuple[str, int]], /, *, ended_until: int, blank: bytes) -> int:
        """Remove the lines of the streams of these ids and lives, as far as they had ended by that time.

        A `blank` line takes the place of the last one, with its number and its mark: later lines are behind it.
        Returns of how many instances lines were removed.
        """
        ...


def is_there(mark: str, last: str | None) -> bool:
    """Whether the line of a stream is there, by the mark of the last one that is."""
    (name, _, number), (writer, _, count) = mark.rpartition("-"), (last or "").rpartition("-")
    return name == writer and number.isdigit() and count.isdigit() and int(number) <= int(count)
