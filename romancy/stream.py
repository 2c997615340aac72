"""Streams as user code sees them: the declaration, what an activity writes, and the items that readers get."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, Protocol

from msgspec import Raw

from romancy.core import kept as kept_call
from romancy.errors import PayloadTooLargeError, UsageError
from romancy.serialization import dumps
from romancy.storage.limits import check_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from typing_extensions import TypeForm, TypeVar

    from romancy.core import Commands

    T = TypeVar("T", default=Any)
    T_co = TypeVar("T_co", default=Any, covariant=True)
else:
    from typing import TypeVar

    T = TypeVar("T")
    T_co = TypeVar("T_co", covariant=True)

__all__ = [
    "ActivityStream",
    "Stream",
    "StreamItem",
    "WorkflowStream",
    "Writing",
    "declared_stream",
    "fields_of_item",
    "kept",
    "stored_item",
]

MOST: Final = 256 * 1024
"""The most bytes of one item."""


class Stream(Generic[T]):
    """The name of a stream of an instance and the type of its data, shared by all that write and read it."""

    __slots__ = ("data", "name")

    def __init__(self, name: str, data: TypeForm[T]) -> None:
        check_id(name, "name of the stream")
        self.name = name
        self.data = data

    def __repr__(self) -> str:
        return f"Stream({self.name!r})"


@dataclass(frozen=True, slots=True)
class StreamItem(Generic[T_co]):
    """What a reader of a stream gets."""

    offset: str
    """Behind which later items are: `handle.stream(after=)` takes it. Offsets of a reader count up, also as texts."""
    kind: Literal["data", "discard", "settled", "end"]
    """`data`: something was written. `discard`: forget what `source` has written and was not settled, its attempt has
    failed or was lost. `settled`: what `source` has written is final, because its end is in the log. `end`: the
    instance has ended.
    """
    data: T_co
    """What was written; None if it is of another kind."""
    source: str
    """The id of the activity, step or compensation that wrote it. Empty: the body, whose items are final at once."""
    attempt: int
    """The attempt that wrote it, of the body 0; of a `discard`, the first one that counts."""
    at: datetime
    """When it was written or recorded, by the clock of its worker."""


def kept(items: Iterable[StreamItem[T]]) -> list[T]:
    """The data of these items, in their order, without what was discarded. They begin where the stream begins."""
    final: list[tuple[int, T]] = []
    open_: dict[str, list[tuple[int, T]]] = {}
    for place, item in enumerate(items):
        if item.kind == "data" and not item.source:
            final.append((place, item.data))
        elif item.kind == "data":
            open_.setdefault(item.source, []).append((place, item.data))
        elif item.kind == "settled":
            final += open_.pop(item.source, ())
        elif item.kind == "discard" and item.source:
            open_.pop(item.source, None)
        else:
            open_.clear()
    final += (each for written in open_.values() for each in written)
    return [data for _, data in sorted(final, key=lambda each: each[0])]


def fields_of_item(item: StreamItem[Any]) -> dict[str, object]:
    """An item as a record of data, without its offset."""
    data = {"data": item.data} if item.kind == "data" else {}
    return {"kind": item.kind, **data, "source": item.source, "attempt": item.attempt, "at": item.at}


class Writing(Protocol):
    """What one attempt writes to one stream."""

    def write(self, data: bytes, /) -> None: ...

    async def flushed(self) -> None: ...


class WritesStreams(Protocol):
    """An attempt that writes to streams."""

    def stream(self, name: str, /) -> Writing: ...


class ActivityStream(Generic[T]):
    """A stream as an activity writes it. What a failed attempt has written is discarded."""

    __slots__ = ("_alive", "_port", "_stream")

    def __init__(self, stream: Stream[T], port: WritesStreams, alive: Callable[[], None]) -> None:
        self._stream, self._port, self._alive = stream, port, alive

    def write(self, data: T, /) -> None:
        """Write an item, which readers see within about 50 ms. It is a heartbeat, too. Any thread may call it.

        It only goes into a buffer, and is in the database before the completion of the activity is. Raises
        StreamFullError if the instance's streams hold 16 MB, or if 8 MB of this worker wait for the database. Raises
        SerializationError for data of another type, and PayloadTooLargeError if the item has more than 256 kB.
        """
        raw = stored_item(self._stream, data)
        self._alive()
        self._port.stream(self._stream.name).write(raw)

    async def flush(self) -> None:
        """Return once everything that this attempt has written to the stream is in the database."""
        await self._port.stream(self._stream.name).flushed()


class WorkflowStream(Generic[T]):
    """A stream as a body writes it. What it writes is an event of the log, and final."""

    __slots__ = ("_commands", "_stream")

    def __init__(self, commands: Commands, stream: Stream[T]) -> None:
        self._commands, self._stream = commands, stream

    @kept_call("ctx.stream(…)")
    async def write(self, data: T, /) -> None:
        """Write an item with the commit of this step. A replay writes nothing, nor does a retry what it has written.

        Raises SerializationError for data of another type, and PayloadTooLargeError if the item has more than 256 kB.
        """
        self._commands.write(self._stream.name, Raw(stored_item(self._stream, data)))


def stored_item(stream: Stream[Any], data: object) -> bytes:
    """An item as it is stored. Raises SerializationError and PayloadTooLargeError."""
    raw = dumps(data, f"item of stream {stream.name!r}", stream.data)
    if len(raw) > MOST:
        raise PayloadTooLargeError(
            f"item of stream {stream.name!r}: {len(raw):,} bytes, at most {MOST:,} are allowed; write it in parts"
        )
    return raw


def declared_stream(stream: Stream[Any] | str, model: Any = Any) -> Stream[Any]:
    """The stream, given as such or by its name and perhaps the type of its data."""
    if not isinstance(stream, str | Stream):  # pyright: ignore[reportUnnecessaryIsInstance] - untyped code calls this too
        raise UsageError(f"a stream is Stream(name, type) or its name, not {type(stream).__name__}")
    return Stream(stream, model) if isinstance(stream, str) else stream
