"""Resolves names in the source of a function to objects, as far as that is possible without running it."""

from __future__ import annotations

import ast
import builtins
import importlib
import inspect
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePath
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from romancy.linting._source import Function

__all__ = ["UNKNOWN", "Made", "Scope", "own_nodes", "parameters"]


class _Unknown:
    """A value that cannot be told without running the code."""


UNKNOWN: Final = _Unknown()
_FUNCTIONS: Final = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Made:
    """Some object of a class."""

    cls: type


class Scope:
    """The names of one function, and of those around it."""

    def __init__(
        self, node: Function, outer: Scope | None, names: Mapping[str, Any], package: str, given: Mapping[str, Any] = {}
    ) -> None:
        """`names` are globals and closure. `given` are the values of parameters, as far as they are known."""
        self._outer = outer
        self._names = names
        self._package = package
        self._values: dict[str, Any] = dict.fromkeys(parameters(node), UNKNOWN) | dict(given)
        self._written: dict[str, list[ast.expr]] = {}
        self._busy: set[str] = set()
        for argument in _arguments(node):
            if argument.arg not in given and argument.annotation is not None:
                self._values[argument.arg] = self._of_annotation(argument.annotation)
        for inner in own_nodes(node):
            self._note(inner)

    def _note(self, node: ast.AST) -> None:
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name if alias.asname else alias.name.partition(".")[0]
                self._values[alias.asname or top] = _module(top, None)
        elif isinstance(node, ast.ImportFrom):
            module = _module("." * node.level + (node.module or ""), self._package)
            for alias in node.names:
                self._values[alias.asname or alias.name] = _attribute(module, alias.name)
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                self._assign(target, node.value)
        elif isinstance(node, ast.NamedExpr | ast.AnnAssign) and node.value is not None:
            self._assign(node.target, node.value)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            self._values.setdefault(node.id, UNKNOWN)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            self._values[node.name] = UNKNOWN

    def _assign(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(target, ast.Name):
            self._values.setdefault(target.id, UNKNOWN)
            self._written.setdefault(target.id, []).append(value)

    def _of_annotation(self, annotation: ast.expr) -> Any:
        if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
            with suppress(SyntaxError):
                annotation = ast.parse(annotation.value, mode="eval").body
        cls = self.resolve(annotation)
        return Made(cls) if isinstance(cls, type) else UNKNOWN

    def resolve(self, node: ast.expr) -> Any:
        """The object that an expression stands for; `Made` for a new object; else `UNKNOWN`."""
        if isinstance(node, ast.Name):
            return self._named(node.id)
        if isinstance(node, ast.Attribute):
            return _attribute(self.resolve(node.value), node.attr)
        if isinstance(node, ast.Call):
            called = self.resolve(node.func)
            return Made(called) if isinstance(called, type) else UNKNOWN
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            left = self.resolve(node.left)
            return left if isinstance(left, Made) and issubclass(left.cls, PurePath) else UNKNOWN
        return UNKNOWN

    def _named(self, name: str) -> Any:
        if name in self._values:
            found = self._values[name]
            if found is UNKNOWN and name not in self._busy:
                self._busy.add(name)
                values = [self.resolve(value) for value in self._written.get(name, ())]
                self._busy.discard(name)
                return next((value for value in values if value is not UNKNOWN), UNKNOWN)
            return found
        if self._outer is not None:
            return self._outer.resolve(ast.Name(name, ast.Load()))
        return self._names.get(name, getattr(builtins, name, UNKNOWN))


def _module(name: str, package: str | None) -> Any:
    try:
        return importlib.import_module(name, package)
    except Exception:  # noqa: BLE001 - a module of the user's may raise anything when it is imported
        return UNKNOWN


def _attribute(owner: Any, name: str) -> Any:
    if owner is UNKNOWN:
        return UNKNOWN
    found: Any
    try:
        if isinstance(owner, ModuleType | type) or not _is_plain(owner):
            return getattr(owner, name, UNKNOWN)
        found = inspect.getattr_static(owner.cls if isinstance(owner, Made) else owner, name, UNKNOWN)
    except Exception:  # noqa: BLE001 - the user's objects may raise anything
        return UNKNOWN
    if isinstance(found, property):
        return found.fget
    is_method = type(found) in (staticmethod, classmethod)
    return found.__func__ if is_method else found


def _is_plain(owner: object) -> bool:
    """Whether it is an object of a class written in Python, whose attributes must not be computed."""
    return isinstance(owner, Made) or isinstance(getattr(type(owner), "__init__", None), FunctionType)


def _arguments(node: Function) -> Iterator[ast.arg]:
    yield from (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)


def parameters(node: Function) -> list[str]:
    """The names of all parameters."""
    more = [each.arg for each in (node.args.vararg, node.args.kwarg) if each is not None]
    return [*(each.arg for each in _arguments(node)), *more]


def own_nodes(node: Function) -> Iterator[ast.AST]:
    """The nodes in the body of a function, without those of functions and classes inside of it."""
    body: list[ast.AST] = [*node.body] if isinstance(node, _FUNCTIONS) else [node.body]
    waiting: list[ast.AST] = body[::-1]
    while waiting:
        inner = waiting.pop()
        yield inner
        if not isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            waiting.extend([*ast.iter_child_nodes(inner)][::-1])
