"""What a stream of an instance holds, as parts for a page: what each attempt has written, and what became of it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgspec

from romancy.errors import CodecError
from romancy.managing.streams import items_of, names_of
from romancy.stream import declared_stream

if TYPE_CHECKING:
    from romancy.storage.protocol import Store
    from romancy.stream import StreamItem

__all__ = ["Part", "Spoken", "spoken_by"]

_PARTS: Final = 100
"""How many parts a page has at most: the newest."""
_ITEMS: Final = 500
"""How many items of a part are shown: the last ones."""
_SHOWN: Final = 20_000
"""How many characters of a part."""


@dataclass(slots=True)
class Part:
    """What one attempt has written without a break."""

    source: str
    """Empty: the body."""
    attempt: int
    fate: str = "open"
    """`open`, `final` or `discarded`."""
    items: deque[str] = field(default_factory=lambda: deque[str](maxlen=_ITEMS))
    count: int = 0

    def add(self, data: object) -> None:
        """One item more. Texts stand behind each other, other data on lines of their own."""
        text = data if isinstance(data, str) else f"{msgspec.json.encode(data).decode()}\n"
        self.items.append(text[-_SHOWN:])
        self.count += 1

    @property
    def text(self) -> str:
        """The end of it."""
        return "".join(self.items)[-_SHOWN:]


@dataclass(frozen=True, slots=True)
class Spoken:
    """A stream."""

    names: list[str]
    name: str
    parts: list[Part]
    is_sealed: bool = False


async def spoken_by(store: Store, instance_id: str, name: str) -> Spoken:
    """The stream of this name; of the first name, if there is none of this one."""
    names = await names_of(store, instance_id)
    if not names:
        return Spoken([], "", [])
    chosen = name if name in names else names[0]
    parts = deque[Part](maxlen=_PARTS)
    try:
        async for item in items_of(store, instance_id, declared_stream(chosen)):
            _take(parts, item)
    except CodecError:
        return Spoken(names, chosen, [], is_sealed=True)
    return Spoken(names, chosen, list(parts))


def _take(parts: deque[Part], item: StreamItem[object]) -> None:
    if item.kind == "data":
        last = parts[-1] if parts else None
        fate = "open" if item.source else "final"
        if last is None or (last.source, last.attempt, last.fate) != (item.source, item.attempt, fate):
            last = Part(item.source, item.attempt, fate)
            parts.append(last)
        last.add(item.data)
        return
    fate = "final" if item.kind == "settled" else "discarded"
    for part in parts:
        if part.fate == "open" and item.source in ("", part.source):
            part.fate = fate
