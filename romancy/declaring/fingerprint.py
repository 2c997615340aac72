"""A fingerprint of the code that a workflow's replay depends on. It tells two versions of the code apart.

The fingerprint covers what the body can reach: its own code; the user's functions and classes that it names, through
their globals, closures and base classes; the declared types; and the names and signatures of its activities and
children. The code of an activity is not replayed and does not count. Of data, these count: the values of closures and
defaults, and module globals whose names are in capitals. Other module globals may change at run time and do not count.

The fingerprint is made from compiled code, never from source: files may have been replaced since they were imported. It
calls no code of the user's, so no object can disturb it. Two processes that run the same code on the same Python get
the same fingerprint, whatever their hash seeds.
"""

from __future__ import annotations

import functools
import hashlib
import platform
import re
import sys
from contextlib import suppress
from dataclasses import fields
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from importlib.metadata import PackageNotFoundError, version
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any, Final, cast
from uuid import UUID

from romancy.declaring.reaching import held_by, is_installed, kind_of, owner_of
from romancy.event import EventType

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from romancy.serialization import Signature

__all__ = ["fingerprint"]

_MOST: Final = 5000
"""Upper bound on the functions and classes that are examined."""
_MOST_VALUES: Final = 100_000
_DEEPEST: Final = 8
_LARGEST: Final = 10_000
"""Upper bound on the items of a container that are examined. Of a larger container only the size counts."""
_ATOMS: Final = (
    bool, int, float, complex, str, bytes, type(None), type(...), range, date, datetime, time, timedelta, timezone,
    Decimal, Fraction, UUID,
)  # fmt: skip
_SEQUENCES: Final = (tuple, list)
_SETS: Final = (frozenset, set)
_MUTABLE: Final = (list, set, dict, bytearray)
_CONSTANT: Final = re.compile(r"_*[A-Z][A-Z0-9_]*")
_NAME: Final = re.compile(r"[^\W\d]\w*")
_items_of: Final[Callable[[Any], Iterator[Any]]] = cast("Any", tuple).__iter__
"""Iterates a tuple of a user's class without calling that class's own `__iter__`."""


def fingerprint(workflow: Any) -> str:
    """The fingerprint: sixteen hexadecimal digits."""
    survey = _Survey(_top(workflow.fn.__module__))
    survey.definition(workflow)
    survey.wanted += [workflow.fn, *getattr(workflow, "beside", ())]
    survey.look_around()
    return hashlib.sha256("\n".join([_ground(), *sorted(survey.facts)]).encode("utf-8", "replace")).hexdigest()[:16]


@functools.cache
def _ground() -> str:
    """The versions of Romancy and Python. Another version may follow a log that this one cannot."""
    try:
        ours = version("romancy")
    except PackageNotFoundError:
        ours = "unknown"
    return f"romancy {ours}, {platform.python_implementation()} {sys.version_info[0]}.{sys.version_info[1]}"


class _Survey:
    """Collects every fact about the code, each as one line of text."""

    def __init__(self, home: str) -> None:
        self.facts: set[str] = set()
        self.wanted: list[Any] = []
        self._home = home
        self._seen: dict[int, Any] = {}
        self._values = 0

    def look_around(self) -> None:
        """Describe the wanted functions and classes, and those that they name in turn."""
        while self.wanted and len(self._seen) < _MOST:
            thing = self.wanted.pop(0)
            if id(thing) not in self._seen:
                self._seen[id(thing)] = thing
                self._describe(thing)

    def _describe(self, thing: Any) -> None:
        try:
            parts = list(self._of_class(thing) if issubclass(_class_of(thing), type) else self._of_function(thing))
        except Exception as error:  # noqa: BLE001 - the user's objects may raise anything; continue with the rest
            parts = [type(error).__name__]
        self.facts.add(f"{_qualified(thing)}: {'; '.join(parts)}")

    # ── functions ───────────────────────────────────────────────────────────────────────────────────────────────

    def _of_function(self, fn: FunctionType) -> Iterator[str]:
        yield _digest_of(fn.__code__)
        yield self.value((fn.__defaults__, fn.__kwdefaults__))
        names = sorted(_names_in(fn.__code__))
        for name in names:
            if name in fn.__globals__:
                yield from self._named(name, fn.__globals__[name], names)
        for name, cell in zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=False):
            yield f"{name} = {self._in_cell(cell)}"
            with suppress(ValueError):  # as above
                yield from self._activities_in(name, cell.cell_contents, names)

    def _named(self, name: str, thing: Any, names: Iterable[str]) -> Iterator[str]:
        """The value of a global. For a module of the user's, the values of the names taken from it."""
        if not issubclass(_class_of(thing), ModuleType):
            yield f"{name} = {self._held(name, thing)}"
            yield from self._activities_in(name, thing, names)
            return
        if not self._is_own(thing.__name__):
            yield f"{name} = {_foreign(thing.__name__)}"
            return
        inside: Mapping[str, Any] = ModuleType.__getattribute__(thing, "__dict__")
        for inner in names:
            if inner in inside and not issubclass(type(inside[inner]), ModuleType):
                yield f"{name}.{inner} = {self._held(inner, inside[inner])}"
                yield from self._activities_in(f"{name}.{inner}", inside[inner], names)

    def _activities_in(self, name: str, thing: Any, names: Iterable[str]) -> Iterator[str]:
        """The activities that an object or a container holds. The code of their methods is not replayed."""
        held = [each for each in held_by(thing, frozenset(names), self._home) if kind_of(each) == "activity"]
        for each in held:
            if owner_of(each) is not None:
                self._seen.setdefault(id(each.fn.__func__), each.fn.__func__)
        yield from (f"{name} has {told}" for told in sorted(map(self.value, held)))

    def _held(self, name: str, thing: Any) -> str:
        """The value that a module holds under this name."""
        is_data = _class_of(thing) in (*_ATOMS, *_SEQUENCES, *_SETS, *_MUTABLE)
        return self.value(thing) if not is_data or _CONSTANT.fullmatch(name) else _class_of(thing).__name__

    def _in_cell(self, cell: CellType) -> str:
        try:
            thing = cell.cell_contents
        except ValueError:
            return "nothing yet"
        return _class_of(thing).__name__ if _class_of(thing) in _MUTABLE else self.value(thing)

    # ── classes and types ───────────────────────────────────────────────────────────────────────────────────────

    def _of_class(self, cls: Any) -> Iterator[str]:
        yield f"({', '.join(self.value(base) for base in cls.__bases__)})"
        if issubclass(cls, Enum):
            yield from (f"{member.name} = {self.value(member.value)}" for member in cls)
        inside: Mapping[str, Any] = type.__dict__["__dict__"].__get__(cls)
        for name in sorted(inside):
            yield from (f"{name} = {told}" for told in self._of_member(name, inside[name]))
        yield from (f"{name} by default {self.value(default)}" for name, default in _defaults(cls))
        names = getattr(sys.modules.get(cls.__module__), "__dict__", {})
        for name, annotation in _annotations(cls, inside).items():
            yield f"{name}: {self._declared(annotation, names)}"

    def _of_member(self, name: str, thing: Any) -> Iterator[str]:
        kind = _class_of(thing)
        if kind in (staticmethod, classmethod):
            yield self.value(thing.__func__)
        elif kind is property:
            yield from (self.value(each) for each in (thing.fget, thing.fset) if each is not None)
        elif kind is functools.cached_property:
            yield self.value(thing.func)
        elif kind is FunctionType or _CONSTANT.fullmatch(name) or not (name.startswith("_") or kind in _MUTABLE):
            yield self.value(thing)

    def _declared(self, tp: Any, names: Mapping[str, Any]) -> str:
        """An annotation as text. The classes it names are described too."""
        try:
            return self._annotated(tp, names)
        except Exception as error:  # noqa: BLE001 - an annotation may raise anything; continue with the rest
            return f"{_class_of(tp).__name__} ({type(error).__name__})"

    def _annotated(self, tp: Any, names: Mapping[str, Any]) -> str:
        if _class_of(tp) is str:
            for name in _NAME.findall(tp):
                if issubclass(type(names.get(name)), type):
                    self.value(names[name])
            return str(tp)
        arguments: Any = getattr(tp, "__args__", None)
        metadata: Any = getattr(tp, "__metadata__", ())
        if issubclass(_class_of(tp), type) and not arguments:
            return self.value(tp)
        if _class_of(arguments) is tuple:
            told = [self._declared(each, names) for each in (*arguments, *metadata)]
            return f"{self.value(getattr(tp, '__origin__', _class_of(tp)))}[{', '.join(told)}]"
        if _class_of(inner := getattr(tp, "__forward_arg__", None)) is str:
            return self._declared(inner, names)
        if _class_of(tp).__name__ == "TypeAliasType":
            return self._declared(tp.__value__, names)
        return self.value(tp)

    # ── Romancy's definitions ───────────────────────────────────────────────────────────────────────────────────

    def definition(self, thing: Any) -> str:
        """A workflow, an activity or a compensation: its name, parameters and result."""
        label = f"{_class_of(thing).kind} {thing.name}"
        if id(thing) not in self._seen:
            self._seen[id(thing)] = thing
            undo = getattr(thing, "undo", None)
            declared = getattr(thing, "declared", None)
            raises = sorted(self.value(each) for each in getattr(declared, "raises", ()))
            more = "" if undo is None else f", {thing.declared.compensate} undone by {self.definition(undo)}"
            names = _names_of(next(iter(getattr(thing, "beside", ())), thing.fn))
            told = f"{label}({', '.join(self._of_signature(thing.signature, names))})"
            self.facts.add(f"{label} may fail with {self._errors_in(names)}")
            self.facts.add(f"{told} raises {raises}{more}")
        return label

    def _errors_in(self, names: Mapping[str, Any]) -> list[str]:
        """The exception classes that a module names. A workflow catches an activity's errors as these."""
        classes = [thing for thing in list(names.values()) if issubclass(_class_of(thing), type)]
        return sorted(self.value(each) for each in classes if issubclass(each, Exception))

    def _of_signature(self, signature: Signature, names: Mapping[str, Any]) -> Iterator[str]:
        for parameter in signature.parameters:
            default = "" if parameter.required else f" = {self.value(parameter.default)}"
            yield f"{'*, ' if parameter.keyword_only else ''}{parameter.name}{default}"
        for name, declared in signature.declared().items():
            yield f"{name}: {self._declared(declared, names)}"

    # ── values ──────────────────────────────────────────────────────────────────────────────────────────────────

    def value(self, thing: Any, depth: int = 0) -> str:
        """A value as text, the same in every process. Classes and functions of the user in it are described too."""
        self._values += 1
        if self._values > _MOST_VALUES:
            return "…"
        try:
            return self._value(thing, depth)
        except Exception as error:  # noqa: BLE001 - the user's objects may raise anything; continue with the rest
            return f"{_class_of(thing).__name__} ({type(error).__name__})"

    def _value(self, thing: Any, depth: int) -> str:
        kind = _class_of(thing)
        if kind in _ATOMS:
            return f"{kind.__name__} {thing!r}"
        if kind in (*_SEQUENCES, *_SETS, dict):
            return f"{kind.__name__} [{', '.join(self._inside(thing, depth))}]"
        if kind is FunctionType or issubclass(kind, type):
            if self._is_own(thing.__module__):
                self.wanted.append(thing)
                return _qualified(thing)
            return f"{_foreign(thing.__module__)}.{_qualified(thing)}"
        if kind is EventType:
            return f"event {thing.name}: {self._declared(thing.data, {})}"
        if _top(kind.__module__) == "romancy" and type(getattr(kind, "kind", None)) is str and hasattr(thing, "fn"):
            return self.definition(thing)
        pieces = _pieces(thing, kind) if depth < _DEEPEST else ()
        return f"{self.value(kind)} {self.value(pieces, depth + 1)}"

    def _inside(self, thing: Any, depth: int) -> list[str]:
        if depth >= _DEEPEST:
            return ["…"]
        if len(thing) > _LARGEST:
            return [f"{len(thing)} things"]
        if issubclass(_class_of(thing), dict):
            return [f"{self.value(key, depth + 1)}: {self.value(each, depth + 1)}" for key, each in thing.items()]
        told = [self.value(each, depth + 1) for each in thing]
        return sorted(told) if _class_of(thing) in _SETS else told

    def _is_own(self, module: str | None) -> bool:
        """Whether the module is the user's: in the workflow's package, or not among the installed packages."""
        top = _top(module)
        if top in ("romancy", "builtins") or top in sys.stdlib_module_names:
            return False
        return top == self._home or not is_installed(module or "")


def _pieces(thing: Any, kind: Any) -> tuple[Any, ...]:
    """The parts of an object that define it, for classes with fixed parts."""
    if issubclass(kind, Enum):
        return (thing.name,)
    if issubclass(kind, tuple):
        return (*_items_of(thing),)
    if kind is re.Pattern:
        return (thing.pattern, thing.flags)
    if kind is BuiltinFunctionType:
        return (thing.__module__, thing.__qualname__)
    if kind is MethodType:
        return (_class_of(thing.__self__), thing.__func__)
    if kind is functools.partial:
        return (thing.func, thing.args, thing.keywords)
    parameters = getattr(kind, "__dataclass_params__", None)
    if parameters is not None and parameters.frozen:
        return tuple(object.__getattribute__(thing, each.name) for each in fields(kind))
    with suppress(AttributeError):
        return (object.__getattribute__(thing, "__wrapped__"),)
    return ()


def _class_of(thing: object) -> Any:
    """The real class. An object's `__class__` may be made up, or raise."""
    return type(thing)


def _names_of(fn: Any) -> Mapping[str, Any]:
    """The names that a function's annotations can refer to."""
    found: Mapping[str, Any] = getattr(fn, "__globals__", {})
    return found


def _top(module: str | None) -> str:
    return (module or "").partition(".")[0]


def _foreign(module: str | None) -> str:
    """The name of a foreign module, with the version of its package if that has one."""
    loaded = sys.modules.get(_top(module))
    told = None if loaded is None else ModuleType.__getattribute__(loaded, "__dict__").get("__version__")
    return f"{module}@{told}" if type(told) is str else f"{module}"


def _qualified(thing: Any) -> str:
    """The qualified name, without the module's: a script has another module name when it is imported."""
    name = getattr(thing, "__qualname__", None)
    return name if type(name) is str else _class_of(thing).__name__


def _defaults(cls: Any) -> Iterator[tuple[str, Any]]:
    """The defaults of the fields of a record class."""
    inside: Mapping[str, Any] = type.__dict__["__dict__"].__get__(cls)
    if "__dataclass_fields__" in inside:
        yield from ((each.name, (each.default, each.default_factory)) for each in fields(cls))
    yield from ((each.name, each.default) for each in inside.get("__attrs_attrs__", ()))
    yield from ((name, each.default) for name, each in inside.get("__pydantic_fields__", {}).items())
    yield from inside.get("_field_defaults", {}).items()
    if type(defaults := getattr(cls, "__struct_defaults__", None)) is tuple:
        yield "the last fields", defaults


def _annotations(cls: Any, inside: Mapping[str, Any]) -> Mapping[str, Any]:
    if sys.version_info >= (3, 14):
        import annotationlib  # noqa: PLC0415 - there is none before 3.14

        return annotationlib.get_annotations(cls, format=annotationlib.Format.FORWARDREF)
    found: Mapping[str, Any] = inside.get("__annotations__") or {}
    return found


def _names_in(code: CodeType) -> set[str]:
    names = set(code.co_names)
    for constant in code.co_consts:
        if _class_of(constant) is CodeType:
            names |= _names_in(constant)
    return names


def _digest_of(code: CodeType) -> str:
    """A digest of what a function does, independent of its place in the file."""
    digest = hashlib.sha256(code.co_code)
    digest.update(code.co_exceptiontable)
    shape = (
        code.co_flags, code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount,
        code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars,
    )  # fmt: skip
    digest.update(repr(shape).encode("utf-8", "replace"))
    for constant in code.co_consts:
        digest.update(_constant(constant).encode("utf-8", "replace"))
    return digest.hexdigest()


def _constant(constant: Any) -> str:
    kind = _class_of(constant)
    if kind is CodeType:
        return f"{constant.co_name} {_digest_of(constant)}"
    if kind is frozenset:
        return f"frozenset {sorted(map(_constant, constant))}"
    if kind is tuple:
        return f"tuple {list(map(_constant, constant))}"
    return f"{kind.__name__} {constant!r}"
