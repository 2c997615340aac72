"""Finds the syntax tree of a function in its file."""

from __future__ import annotations

import ast
import inspect
import linecache
from typing import TYPE_CHECKING, TypeAlias, TypeGuard

if TYPE_CHECKING:
    from types import FunctionType

__all__ = ["Function", "Sources"]

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


class Sources:
    """The files that were read so far, each parsed once."""

    def __init__(self) -> None:
        self._trees: dict[str, ast.Module | None] = {}

    def of(self, fn: FunctionType) -> tuple[str, list[Function]]:
        """The file of a function, and its tree: several for lambdas on one line, none without readable source."""
        path = inspect.getsourcefile(fn) or fn.__code__.co_filename
        tree = self._tree(path)
        if tree is None:
            return path, []
        line = fn.__code__.co_firstlineno
        return path, [node for node in ast.walk(tree) if _is_function(node) and _is(node, fn.__code__.co_name, line)]

    def _tree(self, path: str) -> ast.Module | None:
        if path not in self._trees:
            text = "".join(linecache.getlines(path))
            try:
                self._trees[path] = ast.parse(text) if text else None
            except SyntaxError:  # the file has changed since it was imported
                self._trees[path] = None
        return self._trees[path]


def _is_function(node: ast.AST) -> TypeGuard[Function]:
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)


def _is(node: Function, name: str, line: int) -> bool:
    if isinstance(node, ast.Lambda):
        return name == "<lambda>" and node.lineno == line
    return node.name == name and line in (node.lineno, *(each.lineno for each in node.decorator_list))
