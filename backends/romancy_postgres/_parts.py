"""Parts of statements: texts that stand in several statements, for their names.

A part has parameters of its own, numbered for one statement. Another one says by how much its numbers are higher there:
`:part_carried+8`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["statements_of"]

_PART: Final = re.compile(r":(part_\w+)(?:\+(\d+))?")
_NUMBER: Final = re.compile(r"\$(\d+)")


def statements_of(texts: Mapping[str, str]) -> dict[str, str]:
    """The statements among these texts, each with its parts."""
    return {name: _whole(text, texts) for name, text in texts.items() if not name.startswith("part_")}


def _whole(text: str, texts: Mapping[str, str]) -> str:
    return _PART.sub(lambda found: _shifted(_whole(texts[found[1]], texts), int(found[2] or 0)), text)


def _shifted(part: str, by: int) -> str:
    return _NUMBER.sub(lambda number: f"${int(number[1]) + by}", part) if by else part
