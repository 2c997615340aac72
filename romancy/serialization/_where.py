"""Saying which value is at fault: the sentence that opens every error of this package.

Only wording lives here. Nothing in it runs while values are being written or read successfully.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from romancy.errors import SerializationError

if TYPE_CHECKING:
    from collections.abc import Iterable

_LONGEST_KEY = 60
_LONGEST_PATH = 300


@dataclass(frozen=True, slots=True)
class Where:
    """A part of something with a name: `Where("result", "activity 'charge'")`."""

    part: str
    subject: str

    def __str__(self) -> str:
        return f"{self.part} of {self.subject}"


class Element:
    """The path segment of a set's member, which has no position."""


ELEMENT = Element()

Segment: TypeAlias = "str | int | Element | object"


def render_path(segments: Iterable[Segment]) -> str:
    """`$.items[3].price`; a key that is no plain name is quoted, and long ones are cut."""
    path = "$" + "".join(_render_segment(segment) for segment in segments)
    return path if len(path) <= _LONGEST_PATH else path[:_LONGEST_PATH] + "…"


def _render_segment(segment: Segment) -> str:
    if isinstance(segment, Element):
        return "[*]"
    if isinstance(segment, int) and not isinstance(segment, bool):
        return f"[{segment}]"
    if not isinstance(segment, str):
        return f"[{type_name(type(segment))} key]"
    key = segment if len(segment) <= _LONGEST_KEY else segment[:_LONGEST_KEY] + "…"
    return f".{key}" if key.isascii() and key.isidentifier() else f"[{json.dumps(key)}]"


def type_name(tp: object) -> str:
    """A type as a person writes it; never calls code of a value, so a broken `__repr__` cannot interfere."""
    if not isinstance(tp, type):
        return str(tp).replace("typing.", "")
    if tp.__module__ in ("builtins", "__main__") or "<locals>" in tp.__qualname__:
        return tp.__name__
    return f"{tp.__module__}.{tp.__qualname__}"


def refusal(where: Where | str, path: str, reason: str) -> SerializationError:
    """The one form of every refusal: what, at which path, why and what to do."""
    at = "" if path in ("", "$") else f" at {path}"
    return SerializationError(f"{where}{at}: {reason}")
