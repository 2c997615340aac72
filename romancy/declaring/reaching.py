"""Finds what the code of a function names: globals, closures, and what modules, classes and objects hold by its names.

Nothing is run: attributes are read from where they are stored, so a property is not computed.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from functools import cached_property, lru_cache
from types import CodeType, FunctionType, GetSetDescriptorType, MemberDescriptorType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["held_by", "is_installed", "kind_of", "owner_of", "reached_from"]

_MOST: Final = 10_000
"""Upper bound on the objects that are looked into for one function."""
_LARGEST: Final = 1_000
"""A container with more items is not looked into."""
_DEFINITIONS: Final = ("workflow", "activity", "compensation")
_COLLECTIONS: Final = (list, set, frozenset)
_PLAIN: Final = (str, bytes, int, float, complex, bool, type(None), CodeType, FunctionType, ModuleType)
"""Classes of things that hold nothing under a name of an attribute."""
_mro_of: Final = type.__dict__["__mro__"].__get__
_inside_of: Final = type.__dict__["__dict__"].__get__
_items_of: Final = cast("Any", tuple).__iter__
_length_of: Final = cast("Any", tuple).__len__
"""Those of a tuple, also of one whose class has its own."""


def reached_from(functions: Iterable[Any]) -> Iterator[Any]:
    """The objects that the code of these functions names, directly or through functions of the same module."""
    waiting: list[Any] = list(functions)
    seen: set[int] = set()
    while waiting:
        fn = waiting.pop()
        if id(fn) in seen:
            continue
        seen.add(id(fn))
        for thing in _named_by(fn):
            yield thing
            if type(thing) is FunctionType and thing.__module__ == fn.__module__:
                waiting.append(thing)


def kind_of(thing: Any) -> object:
    """The kind of a definition. The type is asked, since an attribute of a user's object may do anything."""
    return getattr(cast("type[object]", type(thing)), "kind", None)


def owner_of(definition: Any) -> object:
    """The object whose method the definition calls. None for a function."""
    fn = definition.fn
    return fn.__self__ if type(fn) is MethodType else None


def _class_of(thing: object) -> Any:
    """The real class. An object's `__class__` may be made up, or raise."""
    return type(thing)


def _named_by(fn: Any) -> list[Any]:
    """The objects that the names in a function's code refer to outside of it, also in modules, classes and objects."""
    names = _names_in(fn.__code__)
    things = [fn.__globals__[name] for name in names if name in fn.__globals__]
    for module in [thing for thing in things if issubclass(type(thing), ModuleType)]:
        things += [vars(module)[name] for name in names if name in vars(module)]
    for cell in fn.__closure__ or ():
        with suppress(ValueError):  # not assigned yet
            things.append(cell.cell_contents)
    return _with_what_they_hold(things, names, fn.__module__)


def _with_what_they_hold(things: list[Any], names: frozenset[str], home: str) -> list[Any]:
    found = {id(thing): thing for thing in things}
    waiting = list(found.values())
    while waiting and len(found) < _MOST:
        for thing in held_by(waiting.pop(), names, home):
            if id(thing) not in found:
                found[id(thing)] = thing
                waiting.append(thing)
    return list(found.values())


def held_by(holder: Any, names: frozenset[str], home: str) -> list[Any]:
    """What an object holds under these names, also in its class if that is the user's, and what a container holds.

    `home` is the module of the code that names it, which is the user's.
    """
    kind = _class_of(holder)
    if kind in _PLAIN or kind_of(holder) in _DEFINITIONS or issubclass(kind, ModuleType):
        return []
    if kind is dict:
        return list(holder.values()) if len(holder) <= _LARGEST else []
    if issubclass(kind, tuple):
        return list(_items_of(holder)) if _length_of(holder) <= _LARGEST else []
    if kind in _COLLECTIONS:
        return list(holder) if len(holder) <= _LARGEST else []
    classes = _mro_of(holder) if issubclass(kind, type) else _mro_of(kind)
    insides = [inside for inside in map(_inside_of, classes) if _is_own(inside.get("__module__"), home)]
    its = _dict_of(holder)
    found: list[Any] = []
    wanted = list(names)
    known = set(names)
    for name in wanted:  # grows while it is walked: a method of the object names more of it
        thing = its[name] if name in its else _attribute(holder, name, insides)
        if thing is None:
            continue
        found.append(thing)
        if type(thing) is FunctionType:
            more = _names_in(thing.__code__) - known
            known |= more
            wanted += sorted(more)
    return found


def _dict_of(holder: Any) -> Mapping[str, Any]:
    """The attributes of the object itself. A class may define a `__dict__` of its own, which is not asked."""
    stored = next(
        (inside["__dict__"] for inside in map(_inside_of, _mro_of(type(holder))) if "__dict__" in inside), None
    )
    if type(stored) is not GetSetDescriptorType or issubclass(type(holder), type):
        return {}
    return object.__getattribute__(holder, "__dict__")  # type: ignore[no-any-return]


def _attribute(holder: Any, name: str, insides: list[Any]) -> Any:
    """What is stored as this attribute in a slot or in the class. None if there is nothing."""
    stored: Any = next((inside[name] for inside in insides if name in inside), None)
    kind = _class_of(stored)
    if kind is MemberDescriptorType:
        with suppress(AttributeError, TypeError):  # the slot is empty, or the holder is the class
            return stored.__get__(holder)
        return None
    if kind in (staticmethod, classmethod):
        return stored.__func__
    if kind is property:
        return stored.fget
    return stored.func if kind is cached_property else stored


def _is_own(module: object, home: str) -> bool:
    """Whether a class of this module is the user's: in the package of the code, or not among the installed packages."""
    if type(module) is not str:
        return False
    top = module.partition(".")[0]
    if top == home.partition(".")[0]:
        return True
    return top not in ("romancy", "builtins") and top not in sys.stdlib_module_names and not is_installed(module)


def is_installed(module: str) -> bool:
    """Whether a module lies where packages are installed. False for one without a file."""
    loaded = sys.modules.get(module)
    if loaded is None:
        return False
    file = ModuleType.__getattribute__(loaded, "__dict__").get("__file__")
    return type(file) is str and ("site-packages" in file or "dist-packages" in file)


@lru_cache(maxsize=1000)
def _names_in(code: CodeType) -> frozenset[str]:
    """The global names and the attributes in a function's code and in the functions inside of it."""
    inner = (_names_in(constant) for constant in code.co_consts if isinstance(constant, CodeType))
    return frozenset(code.co_names).union(*inner)
