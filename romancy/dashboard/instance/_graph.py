"""The graph of executed steps, from the order of requests and ends in the log. Pure.

A request follows the events that the run answered with it: the end of one step leads to the next one, and steps that
ended one after the other, with no request between, are joined, as the run had awaited them together.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from romancy.dashboard.instance._rows import Row, row_of
from romancy.insight import Step

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


__all__ = ["Box", "Graph", "Line", "graph_of", "mermaid"]

_WIDTH: Final = 200
_HEIGHT: Final = 40
_GAP: Final = 18
_LAYER: Final = 76
_LONGEST: Final = 26
_SHAPES: Final = {
    "timer": ('(["', '"])'),
    "event": ('{{"', '"}}'),
    "message": ('{{"', '"}}'),
    "request": ('{{"', '"}}'),
    "question": ('{{"', '"}}'),
    "child": ('[["', '"]]'),
}


@dataclass
class _Node:
    step: Step
    row: Row
    layer: int = 0
    column: float = 0
    before: list[int] = field(default_factory=list[int])


@dataclass(frozen=True, slots=True)
class Box:
    """A step in the drawing, in pixels."""

    row: Row
    x: int
    y: int
    name: str
    note: str


@dataclass(frozen=True, slots=True)
class Line:
    """From one step to a later one."""

    path: str


@dataclass(frozen=True, slots=True)
class Graph:
    """The drawing, and the same as Mermaid's text."""

    boxes: tuple[Box, ...]
    lines: tuple[Line, ...]
    width: int
    height: int
    text: str
    words: tuple[tuple[str, str], ...]
    """Each step, and in words what it followed."""


def graph_of(steps: Sequence[Step], origin: int, until: int, *, beyond: bool) -> Graph | None:
    """The graph of these steps. None without any."""
    nodes = [_Node(step, row_of(step, origin, until, beyond=beyond)) for step in steps]
    if not nodes:
        return None
    _join(nodes)
    _place(nodes)
    boxes = tuple(_box(node) for node in nodes)
    lines = tuple(
        Line(_path(boxes[before], boxes[index])) for index, node in enumerate(nodes) for before in node.before
    )
    return Graph(
        boxes,
        lines,
        max(box.x for box in boxes) + _WIDTH + 1,
        max(box.y for box in boxes) + _HEIGHT + 1,
        mermaid(nodes),
        tuple((node.row.label, _followed(nodes, node)) for node in nodes),
    )


def _join(nodes: list[_Node]) -> None:
    """Find what each step followed: the ends between the request before and its own, or what that one followed."""
    ends = sorted(
        ((node.step.end_place, index) for index, node in enumerate(nodes) if node.step.end_place is not None),
        reverse=True,
    )
    followed: list[int] = []
    for node in nodes:
        came: list[int] = []
        while ends and ends[-1][0] < node.step.place:
            came.append(ends.pop()[1])
        if came:
            followed = came
        node.before = followed
        node.layer = 1 + max((nodes[each].layer for each in followed), default=-1)


def _place(nodes: list[_Node]) -> None:
    """Put the steps of a layer side by side, near those that they followed."""
    layers: dict[int, list[_Node]] = {}
    for node in nodes:
        layers.setdefault(node.layer, []).append(node)
    widest = max(map(len, layers.values()))
    for _, layer in sorted(layers.items()):
        layer.sort(key=lambda node: (_middle(nodes, node), node.step.place))
        for index, node in enumerate(layer):
            node.column = index + (widest - len(layer)) / 2


def _middle(nodes: list[_Node], node: _Node) -> float:
    return sum(nodes[each].column for each in node.before) / len(node.before) if node.before else 0.0


def _box(node: _Node) -> Box:
    row = node.row
    note = " · ".join(
        part for part in (row.outcome, row.took, f"{row.attempts} attempts" if row.attempts > 1 else "") if part
    )
    return Box(row, round(node.column * (_WIDTH + _GAP)), node.layer * _LAYER, _cut(row.label), note)


def _cut(label: str) -> str:
    return label if len(label) <= _LONGEST else f"{label[: _LONGEST - 1]}…"


def _path(one: Box, other: Box) -> str:
    x1, y1, x2, y2 = one.x + _WIDTH // 2, one.y + _HEIGHT, other.x + _WIDTH // 2, other.y
    bend = min((y2 - y1) // 2, _LAYER // 2)
    return f"M{x1} {y1}C{x1} {y1 + bend} {x2} {y2 - bend} {x2} {y2}"


def _followed(nodes: list[_Node], node: _Node) -> str:
    if not node.before:
        return "at the start"
    return "after " + ", ".join(nodes[each].row.label for each in node.before)


def mermaid(nodes: Iterable[_Node]) -> str:
    """The graph as text for Mermaid. Names are quoted so that nothing in them is its syntax."""
    lines = ["flowchart TD"]
    for index, node in enumerate(nodes):
        begin, end = _SHAPES.get(node.step.kind, ('["', '"]'))
        lines.append(f"  n{index}{begin}{_quoted(node.row.label)}<br/>{_quoted(node.row.outcome)}{end}")
        lines += [f"  n{before} --> n{index}" for before in node.before]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return "".join(one if one.isalnum() or one in " _.-:/+" else f"#{ord(one)};" for one in text)
