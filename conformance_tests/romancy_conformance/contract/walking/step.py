"""What a step of a walk is, and how it is printed: as a line of Python."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from msgspec import Struct

__all__ = ["Step", "shown"]


class Step(Struct, frozen=True):
    """A call at a time of the database. `kind` says why it was chosen."""

    kind: str
    at: int
    call: str
    arguments: tuple[Any, ...] = ()
    options: dict[str, Any] = {}

    def __str__(self) -> str:
        words = [*map(shown, self.arguments), *(f"{name}={shown(one)}" for name, one in self.options.items())]
        return f"at {self.at} ({self.kind}): {self.call}({', '.join(words)})"


def shown(value: Any) -> str:
    """A record as Python, without what it has by default."""
    if type(value) in (list, tuple):
        return f"[{', '.join(map(shown, value))}]"
    if isinstance(value, Struct):
        defaults = dict(zip(reversed(value.__struct_fields__), reversed(value.__struct_defaults__), strict=False))
        given = {name: getattr(value, name) for name in value.__struct_fields__}
        words = [f"{name}={shown(one)}" for name, one in given.items() if name not in defaults or one != defaults[name]]
        return f"{type(value).__name__}({', '.join(words)})"
    return repr(str(value)) if isinstance(value, StrEnum) else repr(value)
