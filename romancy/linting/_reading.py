"""Reads bodies of workflows, and functions that they name in the same package, for what a replay cannot repeat."""

from __future__ import annotations

import ast
import inspect
from collections import deque
from dataclasses import dataclass
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, Final

from romancy.linting._forbidden import instead_of
from romancy.linting._scope import UNKNOWN, Made, Scope, own_nodes, parameters
from romancy.linting._source import Sources

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from romancy.linting._source import Function
    from romancy.workflow import Workflow

__all__ = ["Finding", "findings_in"]

_MADE: Final = ("__new__", "__init__", "__post_init__")


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """A call in a workflow whose answer differs from run to run."""

    path: str
    line: int
    column: int
    """Counted from 1."""
    what: str
    """The call, as in `time.time()`."""
    use: str
    """What the workflow uses instead, as in `ctx.now()`."""
    function: str
    """The qualified name of the function with the call."""
    workflow: str
    """The workflow whose body is this function, or reaches it."""


def findings_in(workflows: Iterable[Workflow[..., Any]]) -> list[Finding]:
    """What these workflows and the functions that they name call and should not, by file and line.

    A function is read if it is in the top-level package of its workflow. Activities are not read. Nothing is run.
    """
    found: dict[tuple[str, int, int], Finding] = {}
    sources = Sources()
    for workflow in workflows:
        for finding in _Reader(workflow, sources).read():
            found.setdefault((finding.path, finding.line, finding.column), finding)
    return sorted(found.values())


class _Reader:
    """Reads one workflow."""

    def __init__(self, workflow: Workflow[..., Any], sources: Sources) -> None:
        self._workflow = workflow
        self._sources = sources
        self._home = _top(workflow.fn.__module__)
        self._wanted: deque[tuple[FunctionType, type | None]] = deque()
        self._seen: set[tuple[FunctionType, type | None]] = set()
        self._fn = ""
        self._path = ""

    def read(self) -> Iterator[Finding]:
        for code in self._workflow.beside or (self._workflow.fn,):
            self._want(code, None)
        while self._wanted:
            fn, cls = self._wanted.popleft()
            self._path, trees = self._sources.of(fn)
            self._fn = fn.__qualname__
            names = {**fn.__globals__, **_closure(fn)}
            for node in trees:
                first = next(iter(parameters(node)), None)
                given = {} if cls is None or first is None else {first: Made(cls)}
                yield from self._in(node, Scope(node, None, names, _package(fn), given))

    def _in(self, node: Function, scope: Scope) -> Iterator[Finding]:
        inside = list(own_nodes(node))
        calls = {id(each.func): each for each in inside if isinstance(each, ast.Call)}
        for each in inside:
            if isinstance(each, ast.Name | ast.Attribute) and isinstance(each.ctx, ast.Load):
                yield from self._named(each, scope, calls.get(id(each)))
            elif isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and not _acts(each, scope):
                yield from self._in(each, Scope(each, scope, {}, ""))

    def _named(self, node: ast.Name | ast.Attribute, scope: Scope, call: ast.Call | None) -> Iterator[Finding]:
        thing = scope.resolve(node)
        if thing is UNKNOWN:
            return
        instead = instead_of(thing)
        if instead is None:
            owner = scope.resolve(node.value) if isinstance(node, ast.Attribute) else None
            self._follow(thing, owner)
        elif call is None and isinstance(thing, type):
            return  # a class in an annotation, or in isinstance
        elif call is None or len(call.args) + len(call.keywords) <= instead.most_arguments:
            what = f"{instead.name}()" if instead.is_call else instead.name
            yield Finding(
                self._path, node.lineno, node.col_offset + 1, what, instead.use, self._fn, self._workflow.name
            )

    def _follow(self, thing: Any, owner: Any) -> None:
        """Read what is named, too, if it is the user's and no activity."""
        kind = getattr(thing, "kind", None)
        if kind == "workflow":
            self._want(getattr(thing, "fn", None), None)
        elif isinstance(kind, str) and hasattr(thing, "signature"):
            return  # an activity does what a workflow must not
        elif isinstance(thing, type):
            for name in _MADE:
                self._want(inspect.getattr_static(thing, name, None), thing)
        elif isinstance(thing, MethodType):
            self._want(thing.__func__, thing.__self__ if isinstance(thing.__self__, type) else type(thing.__self__))
        else:
            cls = owner.cls if isinstance(owner, Made) else owner if isinstance(owner, type) else _class_of(owner)
            self._want(thing, cls)
            self._want(getattr(thing, "__wrapped__", None), cls)

    def _want(self, fn: Any, cls: type | None) -> None:
        if isinstance(fn, FunctionType) and _top(fn.__module__) == self._home and (fn, cls) not in self._seen:
            self._seen.add((fn, cls))
            self._wanted.append((fn, cls))


def _class_of(owner: object) -> type | None:
    return None if owner is None or owner is UNKNOWN or inspect.ismodule(owner) else type(owner)


def _acts(node: Function, scope: Scope) -> bool:
    """Whether a function inside of a function is made an activity."""
    if isinstance(node, ast.Lambda):
        return False
    decorators = [each.func if isinstance(each, ast.Call) else each for each in node.decorator_list]
    return any(getattr(scope.resolve(each), "__name__", "") in ("activity", "compensation") for each in decorators)


def _closure(fn: FunctionType) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, cell in zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=False):
        try:
            found[name] = cell.cell_contents
        except ValueError:
            found[name] = UNKNOWN
    return found


def _package(fn: FunctionType) -> str:
    package = fn.__globals__.get("__package__")
    return package if isinstance(package, str) else ""


def _top(module: str | None) -> str:
    return (module or "").partition(".")[0]
