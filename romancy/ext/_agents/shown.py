"""What the steps of an agent are shown with, within the size that a step may have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["text_of", "with_prompts"]

_LARGEST: Final = 16_000
_CUTS: Final = (8_000, 2_000, 400)
"""How many characters of a prompt are shown, if all of them do not fit."""
_MOST_PROMPTS: Final = 12


def with_prompts(told: dict[str, Any], prompts: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """What is told, and the last of these prompts (role and text), cut so that they fit."""
    asked = list(prompts)[-_MOST_PROMPTS:]
    for cut in _CUTS:
        shown = told | {"prompts": [[role, text if len(text) <= cut else f"{text[:cut]}…"] for role, text in asked]}
        if asked and len(msgspec.json.encode(shown)) <= _LARGEST:
            return shown
    return told


def text_of(content: object) -> str:
    """The text of a prompt. Of an image or a file, only its kind."""
    if isinstance(content, str):
        return content
    many = cast("Iterable[object]", content) if isinstance(content, (list, tuple)) else (content,)
    return "\n".join(_text(one) for one in many)


def _text(one: object) -> str:
    if isinstance(one, str):
        return one
    if isinstance(one, dict):
        part = cast("dict[str, object]", one)
        text = part.get("text")
        return text if isinstance(text, str) else f"[{part.get('type', 'dict')}]"
    return f"[{type(one).__name__}]"
