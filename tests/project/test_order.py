"""The modules have an order: no two know each other, not even for the type checker, except those named here."""

from __future__ import annotations

import ast
import functools
from typing import TYPE_CHECKING, Final

from tools import tree

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    Graph = dict[str, set[str]]

UPWARDS: Final = {
    # A loaded instance has attempts, and an attempt belongs to its instance.
    "romancy.engine.instance -> romancy.engine.activities.attempt",
    # An activity names its compensation, which may be an activity.
    "romancy.declaring.compensation -> romancy.activity",
    "romancy.declaring.undo -> romancy.activity",
}
"""The references from a lower module to an upper one. This list may get shorter, and never longer."""


def modules() -> Mapping[str, Path]:
    """The modules of the library and of its adapters."""
    found: dict[str, Path] = {}
    for root in (tree.ROOT / "romancy", *(tree.ROOT / "backends").glob("romancy_*")):
        for path in root.rglob("*.py"):
            parts = path.relative_to(root.parent).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(path: Path) -> Iterator[str]:
    """The names that a module imports, also where only the type checker reads them."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            for alias in node.names:
                yield f"{node.module}.{alias.name}"
                yield node.module


@functools.cache
def references() -> Graph:
    """Which modules each module knows. A package stands for its `__init__`, unless a module of it is imported."""
    known = modules()
    graph: Graph = {name: set() for name in known}
    for name, path in known.items():
        names = [one for one in imported(path) if one in known and one != name]
        graph[name] = {one for one in names if not any(other.startswith(f"{one}.") for other in names)}
    return graph


def on_circles(graph: Graph) -> Graph:
    """The part of the graph in which each module can be reached from one that it reaches."""
    left = {name: set(known) for name, known in graph.items()}
    while True:
        referred = {one for known in left.values() for one in known}
        ends = {name for name, known in left.items() if not known or name not in referred}
        if not ends:
            return left
        left = {name: known - ends for name, known in left.items() if name not in ends}


def without(graph: Graph, cut: set[str]) -> Graph:
    return {name: {one for one in known if f"{name} -> {one}" not in cut} for name, known in graph.items()}


def test_no_two_modules_know_each_other() -> None:
    assert on_circles(without(references(), UPWARDS)) == {}


def test_every_reference_upwards_is_still_needed() -> None:
    """What no longer closes a circle has to go from the list."""
    graph = references()

    assert [one for one in sorted(UPWARDS) if on_circles(without(graph, UPWARDS - {one})) == {}] == []


def test_a_circle_is_found_through_any_number_of_modules() -> None:
    graph: Graph = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set(), "e": {"a"}}

    assert on_circles(graph).keys() == {"a", "b", "c"}
    assert on_circles(without(graph, {"c -> a"})) == {}
