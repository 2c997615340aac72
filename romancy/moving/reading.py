"""Reads files of lines: a whole export, checked from its first line to its last, and each instance in it.

Of an instance, one line at a time is in memory.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO, Final, Literal, Protocol, TypeAlias

from romancy.errors import HistoryCorruptError, UsageError
from romancy.moving.format import End, Export, KeptInstance, Part, brought, mail_of, read_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from romancy.storage.lookups import Lying
    from romancy.storage.rebuilding import Brought
    from romancy.storage.records import LogRow

__all__ = ["Lines", "Parcel", "parcels_of", "whole_parcels"]

_AGAIN: Final = "nothing of it was read; copy the file again, or export again"

Numbered: TypeAlias = "tuple[int, int, bytes]"
"""The number of a line, its place in the file, and its bytes."""


class Lines(Protocol):
    """A file of lines. Its text is what messages call it."""

    def open(self, mode: Literal["rb"], /) -> BinaryIO:
        """Open it to read from it, at any place."""
        ...


@dataclass(slots=True)
class Parcel:
    """An instance in a file."""

    path: Lines
    head: KeptInstance
    """Its first line."""
    places: list[tuple[int, int, int]] = field(default_factory=list[tuple[int, int, int]])
    """Of each further line: its number, its place in the file, and the last commit in it or before it."""
    last: tuple[int, str] = (0, "")
    """The number and the writer of its last commit."""
    complete: bool = False

    def parts(self) -> Iterator[KeptInstance | Part]:
        """Its lines."""
        yield self.head
        yield from self._parts_from(0)

    def _parts_from(self, first: int) -> Iterator[Part]:
        if first >= len(self.places):
            return
        with self.path.open("rb") as file:
            for number, place, _ in self.places[first:]:
                file.seek(place)
                read = read_line(file.readline(), _where(self.path, number), _AGAIN)
                if isinstance(read, Part):
                    yield read

    def brought(self) -> Iterator[Brought]:
        """The same, as a store takes it, without the inbox."""
        return map(brought, self.parts())

    def mail(self) -> tuple[Lying, ...]:
        """What lay in its inbox."""
        return tuple(one for part in self.parts() for one in mail_of(part))

    async def log(self, _: str, __: int, /, *, after: int, limit: int) -> list[LogRow]:
        """The next rows of its log, as `Logs` promises."""
        rows: list[LogRow] = []
        parts = [brought(self.head)] if self.head.log and self.head.log[-1].seq > after else []
        first = next((at for at, (*_, last) in enumerate(self.places) if last > after), len(self.places))
        for part in (*parts, *map(brought, self._parts_from(first))):
            rows += [row for row in part.log if row.seq > after][: limit - len(rows)]
            if len(rows) == limit:
                break
        return rows

    def add(self, part: KeptInstance | Part, number: int, place: int) -> None:
        """Take a further line of it. Raises HistoryCorruptError if it is not the next one."""
        if part is not self.head and (part.instance_id, part.life) != (self.head.instance_id, self.head.life):
            raise HistoryCorruptError(
                f"{_where(self.path, number)} goes on with another instance than {self.head.instance_id!r}; {_AGAIN}"
            )
        for commit in part.log:
            if self.last[0] and commit.seq != self.last[0] + 1:
                raise HistoryCorruptError(
                    f"{_where(self.path, number)}: commit {self.last[0] + 1} of instance {self.head.instance_id!r} is "
                    f"missing; {_AGAIN}"
                )
            self.last = (commit.seq, commit.writer)
        if part is not self.head:
            self.places.append((number, place, self.last[0]))
        self.complete = not part.more


def whole_parcels(path: Path) -> Iterator[Parcel]:
    """The instances in an export, each once it was read. Raises an error that names the line that is wrong."""
    lines = _numbered(path)
    number, _, first = next(lines, (1, 0, b""))
    if not first.lstrip().startswith(b"{"):
        raise UsageError(f"{path} is no export of romancy: `romancy export` writes one")
    if not isinstance(read_line(first, _where(path, number), _AGAIN), Export):
        raise UsageError(f"{path} is no export of romancy: its first line is another one")
    instances = count = 0
    parcel: Parcel | None = None
    end: End | None = None
    for number, place, line in lines:
        if end is not None:
            raise HistoryCorruptError(f"{_where(path, number)} comes behind the end of the export; {_AGAIN}")
        if not line.endswith(b"\n"):
            raise _torn(path)
        read = read_line(line, _where(path, number), _AGAIN)
        if isinstance(read, End):
            end = read
        else:
            count += 1
            parcel = _next(parcel, read, path, number, place)
            if parcel.complete:
                instances += 1
                yield parcel
                parcel = None
    if end is None or parcel is not None:
        raise _torn(path)
    if (end.instances, end.lines) != (instances, count):
        raise HistoryCorruptError(
            f"{path} has {instances} instances in {count} lines, and its end says {end.instances} in {end.lines}; "
            + _AGAIN
        )


def parcels_of(path: Lines, instance_id: str, name: bytes) -> Iterator[Parcel]:
    """The instances of this id in a file of an archive. `name` is the id in it. What is torn at the end is left out."""
    parcel: Parcel | None = None
    for number, place, line in _numbered(path):
        if not line.endswith(b"\n"):
            return
        if name not in line:
            parcel = None
            continue
        read = read_line(line, _where(path, number), "the other lines can be read")
        if isinstance(read, Part) and parcel is None:
            continue
        if isinstance(read, KeptInstance):
            parcel = None
        if not isinstance(read, KeptInstance | Part) or read.instance_id != instance_id:
            continue
        parcel = _next(parcel, read, path, number, place)
        if parcel.complete:
            yield parcel
            parcel = None


def _next(parcel: Parcel | None, read: object, path: Lines, number: int, place: int) -> Parcel:
    """The instance with this line."""
    if isinstance(read, KeptInstance) and parcel is None:
        parcel = Parcel(path, read)
        parcel.add(read, number, place)
        return parcel
    if parcel is None or not isinstance(read, Part):
        raise HistoryCorruptError(f"{_where(path, number)} is not in its place; {_AGAIN}")
    parcel.add(read, number, place)
    return parcel


def _numbered(path: Lines) -> Iterator[Numbered]:
    with path.open("rb") as file:
        place = 0
        for number, line in enumerate(file, 1):
            yield number, place, line
            place += len(line)


def _where(path: Lines, number: int) -> str:
    return f"{path}, line {number}"


def _torn(path: Lines) -> HistoryCorruptError:
    return HistoryCorruptError(f"{path} ends in the middle; {_AGAIN}")
