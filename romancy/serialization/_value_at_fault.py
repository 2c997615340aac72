"""Names the value at fault, in the sentence that opens every error of this package.

This module holds only wording. It does not run while values are written or read successfully.
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
_PUBLIC = {"pathlib._local": "pathlib"}
"""Where Python 3.13 keeps a public class, and where people import it from."""


@dataclass(frozen=True, slots=True)
class Where:
    """A named part of something: `Where("result", "activity 'charge'")`."""

    part: str
    subject: str

    def __str__(self) -> str:
        return f"{self.part} of {self.subject}"


class Element:
    """The path segment of a set's member, which has no position."""


ELEMENT = Element()

Segment: TypeAlias = "str | int | Element | object"


def render_path(segments: Iterable[Segment]) -> str:
    """`$.items[3].price`. A key that is not a plain name is quoted; long keys and paths are cut."""
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
    """A type as a person writes it. Calls no code of a value, so a broken `__repr__` cannot interfere."""
    if not isinstance(tp, type):
        return str(tp).replace("typing.", "")
    if tp.__module__ in ("builtins", "__main__") or "<locals>" in tp.__qualname__:
        return tp.__name__
    return f"{_PUBLIC.get(tp.__module__, tp.__module__)}.{tp.__qualname__}"


def refusal(where: Where | str, path: str, reason: str) -> SerializationError:
    """The error for a refused value: what, at which path, why and what to do."""
    at = "" if path in ("", "$") else f" at {path}"
    return SerializationError(f"{where}{at}: {reason}")
