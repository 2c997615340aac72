"""The part of Markdown that the checks need: fenced code blocks, headings, and links outside of code."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_FENCE = re.compile(r"^(?P<indent> {0,3})(?P<marks>`{3,}|~{3,})(?P<info>[^`]*)$")
_CODE_SPAN = re.compile(r"(`+)(?:(?!\1).)+?\1(?!`)")
_INLINE_LINK = re.compile(r"!?\[[^\]]*\]\(\s*<?(?P<target>[^)\s>]*)>?(?:\s+[\"'(][^)]*)?\)")
_REFERENCE = re.compile(r"^ {0,3}\[[^\]]+\]:\s*<?(?P<target>[^\s>]+)>?")
_HEADING = re.compile(r"^ {0,3}#{1,6}\s+(?P<text>.*?)(?:\s+#+)?\s*$")
_LINK_TEXT = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")


@dataclass(frozen=True, slots=True)
class CodeBlock:
    """One fenced block: its language, the words after the language, its text, and the line of its fence."""

    language: str
    marker: str
    text: str
    line: int


@dataclass(frozen=True, slots=True)
class Page:
    """A parsed page: `prose` has (line number, text) of everything outside fenced blocks."""

    blocks: tuple[CodeBlock, ...]
    prose: tuple[tuple[int, str], ...]


def read(text: str) -> Page:
    """Parse a page. Raises `ValueError` when a fence is never closed."""
    blocks: list[CodeBlock] = []
    prose: list[tuple[int, str]] = []
    fence: re.Match[str] | None = None
    opened = 0
    inside: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if fence is None:
            fence = _FENCE.match(line)
            if fence is None:
                prose.append((number, line))
            opened, inside = number, []
        elif _closes(line, fence["marks"]):
            language, _, marker = fence["info"].strip().partition(" ")
            blocks.append(CodeBlock(language, marker.strip(), "".join(f"{x}\n" for x in inside), opened))
            fence = None
        else:
            inside.append(line.removeprefix(fence["indent"]))
    if fence is not None:
        message = f"the code fence opened in line {opened} is never closed"
        raise ValueError(message)
    return Page(tuple(blocks), tuple(prose))


def _closes(line: str, marks: str) -> bool:
    stripped = line.strip()
    return len(stripped) >= len(marks) and set(stripped) == {marks[0]}


def links(page: Page) -> Iterator[tuple[int, str]]:
    """Yield (line number, target) of every link and image that is not shown as code."""
    for number, line in page.prose:
        visible = _CODE_SPAN.sub("", line)
        for found in _INLINE_LINK.finditer(visible):
            yield number, found["target"]
        reference = _REFERENCE.match(visible)
        if reference:
            yield number, reference["target"]


def anchors(page: Page) -> set[str]:
    """Return the fragment names of the page's headings; repeated ones are numbered."""
    seen: dict[str, int] = {}
    names: set[str] = set()
    for _, line in page.prose:
        heading = _HEADING.match(line)
        if heading is None:
            continue
        words = _LINK_TEXT.sub(r"\1", heading["text"]).replace("`", "").strip().lower()
        name = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        count = seen.get(name, 0)
        seen[name] = count + 1
        names.add(f"{name}-{count}" if count else name)
    return names
