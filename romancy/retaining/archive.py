"""The archive of an app: a folder of JSON Lines, one for each instance that was removed, and how it is read.

A line is `{"sum": …, "instance": {…}}`: the sum is over the text of the instance, whose bytes (the input, the commits
of the log) are base64 as they were stored. So sealed ones stay sealed. Each worker appends to files of its own.

Lines are on the disk before their instances are removed. After a crash in between, an instance is written twice, and a
line at the end of a file may be torn: the reader drops both.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Raw, Struct

from romancy.engine import beneath_codecs
from romancy.errors import HistoryCorruptError, HistoryVersionError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from romancy.storage.protocol import Store
    from romancy.storage.records import InstanceRow

__all__ = ["ArchivedCommit", "ArchivedInstance", "archived_as", "lines_of", "write_lines"]

_VERSION: Final = 1


class ArchivedCommit(Struct, frozen=True, kw_only=True):
    """A commit of a log, as it was stored."""

    seq: int
    at: int
    writer: str
    body: bytes


class ArchivedInstance(Struct, frozen=True, kw_only=True):
    """An instance as it was when it was removed. Times are in microseconds, by the clock of the database."""

    version: int = _VERSION
    instance_id: str
    life: int
    workflow: str
    status: str
    code: str
    created_at: int
    updated_at: int
    parent: str | None
    error: str | None
    input: bytes
    log: list[ArchivedCommit]


class _Line(Struct):
    sum: str
    instance: Raw


class _Versioned(Struct):
    version: int


_encoder: Final = msgspec.json.Encoder()


async def lines_of(store: Store, rows: Sequence[InstanceRow]) -> dict[str, bytes]:
    """The lines for these ended instances, by id. One that has changed since, or has gone, is left out."""
    lines: dict[str, bytes] = {}
    plain = beneath_codecs(store)
    for row in rows:
        log: list[ArchivedCommit] = []
        more, after = True, 0
        while more:
            page = await plain.read(row.instance_id, after=after)
            if page is None or (page.instance.life, page.instance.updated_at) != (row.life, row.updated_at):
                break
            log += [ArchivedCommit(seq=one.seq, at=one.at, writer=one.writer, body=one.body) for one in page.rows]
            more, after = page.more, page.rows[-1].seq if page.rows else after
            if not more:
                lines[row.instance_id] = _line(page.instance, log)
    return lines


def _line(row: InstanceRow, log: list[ArchivedCommit]) -> bytes:
    instance = _encoder.encode(
        ArchivedInstance(
            instance_id=row.instance_id, life=row.life, workflow=row.workflow_name, status=row.status.value,
            code=row.code, created_at=row.created_at, updated_at=row.updated_at, parent=row.parent, error=row.error,
            input=row.input, log=log,
        )
    )  # fmt: skip
    return _encoder.encode(_Line(_sum(instance), Raw(instance))) + b"\n"


def _sum(instance: bytes) -> str:
    return sha256(instance).hexdigest()[:32]


def write_lines(folder: Path, writer: str, lines: Sequence[bytes]) -> None:
    """Append the lines to today's file of this writer. They are on the disk when this returns."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{datetime.now(UTC):%Y-%m-%d}-{writer}.jsonl"
    with path.open("ab") as file:
        before = file.tell()
        try:
            for line in lines:
                file.write(line)
            file.flush()
            os.fsync(file.fileno())
        except OSError:
            os.ftruncate(file.fileno(), before)
            raise
    if hasattr(os, "O_DIRECTORY"):  # Windows cannot open a folder, and writes its entries by itself
        entries = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(entries)
        finally:
            os.close(entries)


def archived_as(folder: Path, instance_id: str) -> list[ArchivedInstance]:
    """All that the archive has of an id, the oldest first, each once.

    Raises HistoryCorruptError for a line that is damaged, and HistoryVersionError for one of a newer Romancy.
    """
    found: dict[tuple[int, int], ArchivedInstance] = {}
    name = _encoder.encode(instance_id)
    for path in sorted(folder.glob("*.jsonl")):
        for number, line in _whole_lines(path):
            if name in line:
                one = _read(line, f"{path.name}, line {number}")
                if one.instance_id == instance_id:
                    found[one.life, one.updated_at] = one
    return sorted(found.values(), key=lambda one: one.updated_at)


def _whole_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if line.endswith(b"\n"):  # a torn one is the last
                yield number, line


def _read(line: bytes, where: str) -> ArchivedInstance:
    try:
        read = msgspec.json.decode(line, type=_Line)
        if _sum(bytes(read.instance)) != read.sum:
            raise HistoryCorruptError(f"{where} of the archive is damaged: its sum does not fit")
        version = msgspec.json.decode(read.instance, type=_Versioned).version
        if version > _VERSION:
            raise HistoryVersionError(f"{where} of the archive has version {version}; a newer Romancy reads it")
        return msgspec.json.decode(read.instance, type=ArchivedInstance)
    except msgspec.DecodeError as error:
        raise HistoryCorruptError(f"{where} of the archive is damaged: {error}") from None
