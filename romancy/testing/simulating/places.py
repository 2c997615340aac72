"""Functions and workflows of a test, by module, file and name, so that another interpreter finds them.

A module of a test may have been imported by file, or run as a program: then another interpreter cannot import it by
its name, and reads the file.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from romancy.errors import UsageError

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["Place", "found", "place_of", "places_of_modules"]

_PROGRAM = "__main__"


class Place(Struct, frozen=True):
    """Where something is defined."""

    module: str
    file: str
    name: str


def place_of(given: Any, what: str) -> Place:
    """The place of a function or a workflow. `what` names it for people.

    Raises UsageError for what no other interpreter finds.
    """
    fn = getattr(given, "fn", given)
    name, module = getattr(fn, "__qualname__", ""), sys.modules.get(getattr(fn, "__module__", ""))
    instead = "each seed is played by another interpreter, which imports the module: define it there"
    if not name or module is None:
        raise UsageError(f"{what} is a {type(given).__name__} and has no place in a module; {instead}")
    if "<" in name:
        kind = "a lambda" if name.endswith("<lambda>") else "defined inside of a function"
        raise UsageError(f"{what} ({name}) is {kind}; {instead}, with a name")
    if _inside(module, name) is not given:
        raise UsageError(f"{what}: {name} of module {module.__name__} is something else; {instead}, under its own name")
    file = getattr(module, "__file__", None)
    if file is None:
        raise UsageError(f"{what} ({name}) is in module {module.__name__}, which is in no file; {instead}")
    return Place(module.__name__, str(Path(file).absolute()), name)


def places_of_modules() -> list[str]:
    """Where this interpreter finds modules."""
    return [str(Path(each).absolute()) for each in sys.path]


def found(place: Place) -> Any:
    """What is there. Raises whatever the import of its module raises."""
    return _inside(_module(place), place.name)


def _module(place: Place) -> ModuleType:
    known = sys.modules.get(place.module)
    if known is not None and place.module != _PROGRAM:
        return known
    try:
        module = None if place.module == _PROGRAM else import_module(place.module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{place.module}.".startswith(f"{error.name}."):
            raise
        module = None
    if module is not None and Path(module.__file__ or "").absolute() == Path(place.file):
        return module
    name = f"romancy simulates {place.file}" if place.module == _PROGRAM else place.module
    return sys.modules[name] if module is None and name in sys.modules else _by_file(name, place.file)


def _by_file(name: str, file: str) -> ModuleType:
    spec = spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is no Python module")
    module = sys.modules[name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _inside(module: ModuleType, name: str) -> Any:
    there: Any = module
    for part in name.split("."):
        there = getattr(there, part, None)
    return there
