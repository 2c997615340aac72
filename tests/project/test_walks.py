"""The walks of the architecture page lead through files and functions that exist."""

from __future__ import annotations

import ast
import re

import pytest

from tools import markdown, tree

PAGE = markdown.read((tree.ROOT / "docs/architecture.md").read_text("utf-8"))
LONGEST = 10
STOP = re.compile(r"\d+\. `(?P<file>[^`]+\.py)`, `(?P<function>[\w.]+)`: \S")


def walks() -> dict[str, list[str]]:
    """The numbered lines below each heading of the section, by heading."""
    found: dict[str, list[str]] = {}
    inside, walk = False, ""
    for _, line in PAGE.prose:
        if line.startswith("## "):
            inside = line == "## Following one call"
        elif inside and line.startswith("### "):
            walk = line.removeprefix("### ")
            found[walk] = []
        elif inside and re.match(r"\d+\. ", line):
            found[walk].append(line)
    return found


def functions_in(body: list[ast.stmt], prefix: str = "") -> set[str]:
    """The functions and methods that are defined here, as `function` or `Class.method`."""
    names: set[str] = set()
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(prefix + node.name)
        elif isinstance(node, ast.ClassDef):
            names |= functions_in(node.body, f"{prefix}{node.name}.")
        elif isinstance(node, ast.If):
            names |= functions_in([*node.body, *node.orelse], prefix)
    return names


def test_there_are_five_walks() -> None:
    assert ["One activity", "One start", "One recovery", "One signal", "One store call"] == list(walks())


@pytest.mark.parametrize(("walk", "stops"), walks().items(), ids=walks().keys())
def test_each_stop_is_a_function_that_one_can_open(walk: str, stops: list[str]) -> None:
    assert 0 < len(stops) <= LONGEST, walk
    for number, line in enumerate(stops, start=1):
        stop = STOP.match(line)
        assert stop is not None, line
        assert line.startswith(f"{number}. ")
        source = ast.parse((tree.ROOT / stop["file"]).read_text("utf-8"))
        assert stop["function"] in functions_in(source.body), line
