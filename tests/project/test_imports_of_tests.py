"""No test imports a test: what several of them share is in a module of its own, which pytest does not collect."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tools import tree

SUSPICIOUS = re.compile(r"import.*\btest_|\btest_\w+ import")
IN_A_PROGRAM = re.compile(r"\b(?:from|import) +((?:\w+\.)+test_\w+)")


def imports_of_tests(source: str) -> list[str]:
    """Return the modules of tests that this source, or a program in its texts, imports."""
    modules = list[str]()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            modules += [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules += [f"{node.module}.{each.name}" for each in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            modules += IN_A_PROGRAM.findall(node.value)
    return [module for module in modules if re.search(r"(^|\.)test_\w+", module)]


def test_no_file_of_the_tree_imports_a_test() -> None:
    """A program may import the test that runs it."""
    texts = {tree.name_of(file): file.read_text("utf-8") for file in tree.files(".py")}
    texts.pop(tree.name_of(Path(__file__)))

    found = {
        name: {*imports_of_tests(text)} - {name.removesuffix(".py").replace("/", ".")}
        for name, text in texts.items()
        if SUSPICIOUS.search(text)
    }

    assert {} == {name: modules for name, modules in found.items() if modules}


def test_an_import_of_a_test_is_seen() -> None:
    source = "import a.test_b\nfrom c.test_d import e\nfrom f import test_g\nfrom h import testing\n"

    assert ["a.test_b", "c.test_d.e", "f.test_g"] == imports_of_tests(source)
    assert ["a.test_b", "c.test_d"] == imports_of_tests(repr(source))
    assert all(SUSPICIOUS.search(line) for line in source.splitlines()[:3])
