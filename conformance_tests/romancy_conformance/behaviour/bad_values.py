"""Values that are refused."""

from __future__ import annotations

__all__ = ["IDS", "TOO_LARGE"]


TOO_LARGE = 2 * 1024 * 1024  # with its quotes
IDS = {
    "empty": "",
    "nul": "\x00",
    "long": "x" * 256,
    "bytes long": "é" * 128,
    "surrogate": "\ud800",
    "int": 5,
    "bytes": b"x",
}
