"""An import hook: every function of the product notes that it is entered.

A tracer slows every instruction of Python 3.11. Here each function begins with one call of `set.add` instead, which the
hook adds to the syntax tree while the module is imported. Nothing is written to `__pycache__`.
"""

from __future__ import annotations

import ast
import builtins
import sys
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tools import tree

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from types import CodeType, ModuleType

__all__ = ["Function", "entered", "functions_in", "install"]

PACKAGES: Final = ("romancy", "romancy_sqlite")
"""The memory store is SQLite's, so a run on it enters no other adapter."""
_NOTE: Final = "__romancy_entered__"

entered: Final = set[str]()
"""The functions that were entered since this was last cleared, as `file::qualified name`."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions_in(parsed: ast.AST, before: str = "") -> Generator[tuple[str, Function]]:
    """Yield every function with its qualified name, an outer one before those in it."""
    for node in ast.iter_child_nodes(parsed):
        name = before
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            name = f"{before}.{node.name}" if before else node.name
            if not isinstance(node, ast.ClassDef):
                yield name, node
        yield from functions_in(node, name)


def install() -> None:
    """Mark what is imported from here on."""
    setattr(builtins, _NOTE, entered.add)
    sys.meta_path.insert(0, _Finder())


class _Finder:
    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name.partition(".")[0] not in PACKAGES:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and type(spec.loader) is SourceFileLoader:
            spec.loader = _Marker(spec.loader.name, spec.loader.path)
        return spec


class _Marker(SourceFileLoader):
    def get_code(self, fullname: str) -> CodeType:  # noqa: ARG002 - the importer passes it
        parsed = ast.parse(self.get_data(self.path), self.path)
        file = Path(self.path).relative_to(tree.ROOT).as_posix()
        for name, function in list(functions_in(parsed)):
            first = 1 if ast.get_docstring(function, clean=False) is not None else 0
            call = ast.Call(ast.Name(_NOTE, ast.Load()), [ast.Constant(f"{file}::{name}")], [])
            note = ast.copy_location(ast.Expr(call), function.body[0])
            function.body.insert(first, ast.fix_missing_locations(note))
        return compile(parsed, self.path, "exec", dont_inherit=True)
