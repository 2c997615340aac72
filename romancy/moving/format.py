"""Instances as lines of JSON: what `romancy export` writes, and the archive of `Retention(archive=)`.

A line is `{"sum": …, "instance": {…}}`: the sum is over the text of the instance. Its bytes (the input, the commits of
the log, messages, lines) are base64 as they were stored, so what codecs have sealed stays sealed. What does not fit
into one line goes on in lines of the kind `part`: each but the last of an instance says that there is `more`.

An export begins with a line of the kind `export` and ends with one of the kind `end`, which counts. An archive has
neither: it grows.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec
from msgspec import Raw, Struct

from romancy.errors import HistoryCorruptError, HistoryVersionError
from romancy.storage.journal import KeptLine
from romancy.storage.lookups import Lying
from romancy.storage.rebuilding import Brought
from romancy.storage.records import InboxRow, LogRow

if TYPE_CHECKING:
    from collections.abc import Iterable

    from romancy.storage.records import InstanceRow

__all__ = [
    "VERSION",
    "AnyLine",
    "Commit",
    "End",
    "Export",
    "KeptInstance",
    "LineOf",
    "Mail",
    "Part",
    "brought",
    "commits",
    "head_of",
    "kept_lines",
    "line_of",
    "mail_of",
    "messages",
    "read_line",
]

VERSION: Final = 1


class Commit(Struct, frozen=True, kw_only=True):
    """A commit of a log, as it was stored."""

    seq: int
    at: int
    writer: str
    body: bytes


class LineOf(Struct, frozen=True, kw_only=True):
    """A log line, or a line of a stream, as it was stored."""

    number: int
    mark: str
    at: int
    body: bytes


class Mail(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A message that lay in the inbox."""

    delivery_id: str
    at: int
    body: bytes
    address: str | None = None
    interest: str | None = None
    posted_at: int | None = None
    spread: str | None = None
    projection: bytes | None = None


class _Held(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a line has of an instance."""

    instance_id: str
    life: int
    log: list[Commit]
    logged: list[LineOf] = []
    streamed: list[LineOf] = []
    mail: list[Mail] = []
    more: bool = False
    """The next line goes on with this instance."""


class Part(_Held, frozen=True, kw_only=True, omit_defaults=True):
    """What comes after the first line of an instance."""


class KeptInstance(_Held, frozen=True, kw_only=True, omit_defaults=True):
    """An instance as it was when it was written. Times are in microseconds, by the clock of the database."""

    version: int
    workflow: str
    status: str
    code: str
    created_at: int
    updated_at: int
    parent: str | None
    error: str | None
    input: bytes
    wake_at: int | None = None
    """When it is due, of an open one that has not read mail."""
    fair_line: str = ""


class Export(Struct, frozen=True, kw_only=True):
    """The first line of an export."""

    version: int
    database: str
    at: int


class End(Struct, frozen=True, kw_only=True):
    """The last line of an export."""

    instances: int
    lines: int


AnyLine: TypeAlias = Export | KeptInstance | Part | End
_KINDS: Final[dict[str, type[AnyLine]]] = {"export": Export, "instance": KeptInstance, "part": Part, "end": End}
_NAMES: Final = {kind: name for name, kind in _KINDS.items()}


class _Versioned(Struct):
    version: int = 0


_encoder: Final = msgspec.json.Encoder()
_lines: Final = msgspec.json.Decoder(dict[str, Raw])
_decoders: Final = {name: msgspec.json.Decoder(kind) for name, kind in _KINDS.items()}
_versions: Final = msgspec.json.Decoder(_Versioned)


def line_of(one: AnyLine) -> bytes:
    """The line for this."""
    text = _encoder.encode(one)
    return _encoder.encode({"sum": _sum(text), _NAMES[type(one)]: Raw(text)}) + b"\n"


def read_line(line: bytes, where: str, advice: str) -> AnyLine:
    """The content of a line. `where` it stands, for errors, and what to do about one that is damaged.

    Raises HistoryCorruptError for a line that is damaged, and HistoryVersionError for one of a newer Romancy.
    """
    try:
        read = _lines.decode(line)
        told: Any = msgspec.json.decode(read.pop("sum", Raw(b"null")))
        name, text = read.popitem()
        if _sum(bytes(text)) != told:
            raise HistoryCorruptError(f"{where} is damaged: its sum does not fit; {advice}")
        version = _versions.decode(text).version
        if version > VERSION:
            raise HistoryVersionError(f"{where} has version {version} of the format; a newer Romancy reads it")
        return _decoders[name].decode(text)
    except (msgspec.DecodeError, KeyError) as error:
        raise HistoryCorruptError(f"{where} is damaged: {error}; {advice}") from None


def _sum(text: bytes) -> str:
    return sha256(text).hexdigest()[:32]


# ── from what a store gives ──────────────────────────────────────────────────────────────────────────────────────────


def head_of(row: InstanceRow, part: Part) -> KeptInstance:
    """The first line of an instance."""
    return KeptInstance(
        version=VERSION, instance_id=row.instance_id, life=row.life, workflow=row.workflow_name,
        status=row.status.value, code=row.code, created_at=row.created_at, updated_at=row.updated_at,
        parent=row.parent, error=row.error, input=row.input, fair_line=row.fair_line,
        wake_at=row.wake_at if row.owner is None else 1,  # a worker that is gone had it: it is due
        log=part.log, logged=part.logged, streamed=part.streamed, mail=part.mail, more=part.more,
    )  # fmt: skip


def commits(rows: Iterable[LogRow]) -> list[Commit]:
    """Rows of a log as they are written."""
    return [Commit(seq=one.seq, at=one.at, writer=one.writer, body=one.body) for one in rows]


def kept_lines(lines: Iterable[KeptLine]) -> list[LineOf]:
    """Log lines, or lines of streams, as they are written."""
    return [LineOf(number=one.number, mark=one.mark, at=one.at, body=one.body) for one in lines]


def messages(page: Iterable[Lying]) -> list[Mail]:
    """What lies in an inbox as it is written."""
    return [
        Mail(
            delivery_id=row.delivery_id, at=row.at, body=row.body, address=row.address, interest=row.interest,
            posted_at=row.posted_at, spread=spread, projection=projection,
        )
        for _, row, spread, projection in page
    ]  # fmt: skip


# ── and back ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def brought(part: KeptInstance | Part) -> Brought:
    """What a line has, as a store takes it."""
    return Brought(
        instance_id=part.instance_id,
        life=part.life,
        log=tuple(LogRow(one.seq, one.writer, one.body, one.at) for one in part.log),
        logged=tuple(KeptLine(part.life, one.number, one.mark, one.at, one.body) for one in part.logged),
        streamed=tuple(KeptLine(part.life, one.number, one.mark, one.at, one.body) for one in part.streamed),
    )


def mail_of(part: KeptInstance | Part) -> list[Lying]:
    """What a line has of the inbox, as a store takes it."""
    return [
        Lying(
            part.instance_id,
            InboxRow(one.delivery_id, one.body, one.at, one.address, one.interest, one.posted_at),
            one.spread,
            one.projection,
        )
        for one in part.mail
    ]
