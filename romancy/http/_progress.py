"""The progress of an instance as server-sent events: reports, steps and the end, without inputs and results."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from romancy.core import ProgressReported
from romancy.errors import RomancyError
from romancy.http._accepting import Accepting
from romancy.stream import fields_of_item

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

    from romancy.core import LogEvent
    from romancy.log import LogEntry
    from romancy.stream import StreamItem

__all__ = ["item_of", "progress_of", "stream_of"]

T = TypeVar("T")

_SHOWN: Final = ("id", "name", "workflow", "attempt", "instance_id")
"""Fields of log events that hold names. Other fields may hold payloads or texts of errors."""


async def stream_of(
    entries: AsyncIterator[T],
    told: Callable[[T], bytes],
    end: Callable[[], Awaitable[object]],
    over: asyncio.Event,
    beat: float,
) -> AsyncGenerator[bytes]:
    """The entries as server-sent events, each as `told`, with a comment every `beat` seconds of silence.

    It ends after the last entry with the event from `end`, or when `over` is set. The id of each event is the cursor of
    its entry, which a client sends back as `last-event-id`.
    """
    drained = asyncio.ensure_future(over.wait())
    following: asyncio.Future[T] | None = None
    try:
        while not drained.done():
            following = following or asyncio.ensure_future(anext(entries))
            waited: list[asyncio.Future[Any]] = [following, drained]
            await asyncio.wait(waited, timeout=beat, return_when=asyncio.FIRST_COMPLETED)
            if not following.done():
                yield b": nothing new\n\n"
                continue
            yield told(following.result())
            following = None
    except StopAsyncIteration:
        yield _event("end", await end())
    except RomancyError as error:
        yield _event("error", Accepting.fault(error).body)
    finally:
        drained.cancel()
        if following is not None:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)


def progress_of(entry: LogEntry) -> bytes:
    """An entry of a log, as an event."""
    event = entry.event
    if isinstance(event, ProgressReported):
        return _event("report", event.state, entry.cursor)
    named = {name: value for name in _SHOWN if (value := getattr(event, name, None)) is not None}
    step = {"kind": _kind(event), "at": entry.at, **named}
    return _event("step", step, entry.cursor)


def item_of(item: StreamItem[Any]) -> bytes:
    """An item of a stream, as an event. The end is told behind the last one."""
    fields = fields_of_item(item)
    kind = str(fields.pop("kind"))
    return b"" if kind == "end" else _event(kind, fields, item.offset)


def _kind(event: LogEvent) -> str:
    return str(event.__struct_config__.tag)


def _event(name: str, data: Any, cursor: str | None = None) -> bytes:
    """One event. JSON written here has no line breaks."""
    text = msgspec.json.encode(data)
    if isinstance(data, msgspec.Raw):
        text = msgspec.json.format(text, indent=-1)
    identified = b"" if cursor is None else b"id: %b\n" % cursor.encode()
    return b"%bevent: %b\ndata: %b\n\n" % (identified, name.encode(), text)
