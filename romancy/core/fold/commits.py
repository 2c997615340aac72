"""The commits of the log: encodes the events that were decided together as the body of a row."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from romancy.core.fold.kinds import KINDS
from romancy.core.words import events as ev
from romancy.errors import HistoryCorruptError, HistoryVersionError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["decode_commit", "encode_commit"]

_Commit: TypeAlias = list[ev.LogEvent]
_KNOWN: Final = {kind.__name__ for kind in KINDS}
_TAG: Final = re.compile(r"[A-Z][A-Za-z]{0,63}")


def _any_of(kinds: tuple[type[ev.LogEvent], ...]) -> Any:
    union: Any = kinds[0]
    for kind in kinds[1:]:
        union |= kind
    return union


_Known: Any = _any_of(tuple(KINDS))
_decoder: msgspec.json.Decoder[_Commit] = msgspec.json.Decoder(list[_Known])
_tags = msgspec.json.Decoder(list[dict[str, Any]])


encode_commit: Final[Callable[[list[ev.LogEvent]], bytes]] = msgspec.json.Encoder().encode
"""The body of a log row: the JSON array of the events decided together."""


def decode_commit(body: bytes) -> list[ev.LogEvent]:
    """The events of a log row.

    Raises HistoryVersionError when an event is of a kind that this version does not know (the log is newer than the
    code), and HistoryCorruptError when the bytes are no commit.
    """
    try:
        return _decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _refusal(body, error) from error


def _refusal(body: bytes, error: Exception) -> HistoryVersionError | HistoryCorruptError:
    try:
        tags = [str(event.get("type")) for event in _tags.decode(body)]
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return HistoryCorruptError(f"a log row is not a JSON array of events: {error}")
    unknown = sorted({tag for tag in tags if tag not in _KNOWN})
    if unknown and all(_TAG.fullmatch(tag) for tag in unknown):
        return HistoryVersionError(
            f"the log holds events unknown to this version of Romancy: {', '.join(unknown)}. "
            "It was written by a newer version; let a worker of that version take the instance."
        )
    return HistoryCorruptError(f"a log row cannot be read: {error if not unknown else 'it holds what is no event'}")
