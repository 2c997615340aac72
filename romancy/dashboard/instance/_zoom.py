"""Zooms and moves: computes the time ranges that the timeline can draw next. Pure."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Zoom", "milliseconds", "zoom"]

_LEAST = 1000


@dataclass(frozen=True, slots=True)
class Zoom:
    """A time to draw, in milliseconds since the beginning."""

    name: str
    begins: str
    ends: str


def zoom(begins: int, ends: int, origin: int) -> list[Zoom]:
    """The links to offer beside a picture of this time range."""
    wide = max(ends - begins, _LEAST)
    spans = {
        "Zoom in": (begins + wide // 4, ends - wide // 4),
        "Zoom out": (begins - wide // 2, ends + wide // 2),
        "Earlier": (begins - wide // 2, ends - wide // 2),
        "Later": (begins + wide // 2, ends + wide // 2),
    }
    if wide <= _LEAST:
        del spans["Zoom in"]
    return [Zoom(name, milliseconds(one, origin), milliseconds(other, origin)) for name, (one, other) in spans.items()]


def milliseconds(at: int, origin: int) -> str:
    """A time for a URL."""
    return f"{(at - origin) / 1000:.3f}".rstrip("0").rstrip(".")
