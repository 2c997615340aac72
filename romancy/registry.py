"""The definitions that decorators have declared, and those of them that one app sees.

A decorator only records the definition; an app compares the names. A definition replaces an earlier one with the same
module and qualified name, so that a reload or a notebook cell that runs twice is no conflict. A definition without
references is forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from inspect import unwrap
from itertools import chain
from types import CodeType, FunctionType, ModuleType
from typing import Any, Final, Protocol, TypeVar, cast
from weakref import WeakValueDictionary

from romancy._logs import get_logger
from romancy.errors import NonDeterminismError, RegistrationError
from romancy.serialization import exception_name, hear_hints

__all__ = ["Declared", "Registry", "declare", "reached_from"]

hear_hints(get_logger("romancy").warning)

_KINDS: Final = ("workflow", "activity", "compensation")


class Declared(Protocol):
    """A workflow, an activity or a compensation."""

    @property
    def kind(self) -> str: ...

    @property
    def name(self) -> str: ...

    @property
    def fn(self) -> Callable[..., Any]: ...


D = TypeVar("D", bound=Declared)
_declared: WeakValueDictionary[tuple[str, str, str], Any] = WeakValueDictionary()


def declare(definition: D) -> D:
    """Record the definition for apps that are made later."""
    fn = definition.fn
    _declared[definition.kind, fn.__module__, fn.__qualname__] = definition
    return definition


def _by_name(kind: str, definitions: Iterable[Any], *, matters: Callable[[Any], bool]) -> dict[str, Any]:
    """The definitions by unique name. Raises RegistrationError if two share a name and it `matters` to either."""
    named: dict[str, Any] = {}
    ambiguous: set[str] = set()
    for definition in definitions:
        other = named.setdefault(definition.name, definition)
        if other is definition or other.fn is definition.fn:
            continue
        if matters(other) or matters(definition):
            raise RegistrationError(
                f"two functions declare the {kind} {definition.name!r}: {_place(other)} and {_place(definition)}. "
                f'Give one of them another name with @{kind}(name="…").'
            )
        ambiguous.add(definition.name)
    return {name: definition for name, definition in named.items() if name not in ambiguous}


def _each(workflows: Any) -> list[Any]:
    if isinstance(workflows, str) or not hasattr(workflows, "__iter__"):
        raise RegistrationError(f"workflows= takes a list of workflows, not {type(workflows).__name__}")
    return list(workflows)


def _checked(workflow: Any) -> Any:
    if getattr(workflow, "kind", None) != "workflow":
        raise RegistrationError(f"workflows= takes functions decorated with @workflow, not a {type(workflow).__name__}")
    return workflow


def _activities_of(workflows: Iterable[Any]) -> list[Any]:
    """The activities that the code of these workflows names, directly or through functions of the same module."""
    things = reached_from(workflow.fn for workflow in workflows)
    return list({id(thing): thing for thing in things if _is_activity(thing)}.values())


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


def _errors_of(definitions: Iterable[Any]) -> frozenset[str]:
    """The names of the exception classes that these definitions can reach, by their modules or by their code."""
    functions = [unwrap(definition.fn) for definition in definitions]
    modules = {id(fn.__globals__): fn.__globals__ for fn in functions}
    things = chain(*(list(module.values()) for module in modules.values()), reached_from(functions))
    # The real class decides: the `__class__` of a user's object may be false, or raise.
    classes = {id(thing): thing for thing in things if issubclass(type(thing), type)}
    return frozenset(exception_name(each) for each in classes.values() if _is_own_error(each))


def _is_own_error(thing: type) -> bool:
    """Whether a workflow can catch the class as itself: it is not built in, not of this library, and ends no call."""
    if not issubclass(thing, Exception):
        return False
    own = str(thing.__module__).partition(".")[0] not in ("builtins", "romancy")
    return own and not issubclass(thing, (NonDeterminismError, StopIteration, StopAsyncIteration))


def _own_activities(workflow: Any) -> dict[str, Any]:
    return _by_name("activity", _activities_of([workflow]), matters=_never)


def _always(_: Any) -> bool:
    return True


def _never(_: Any) -> bool:
    return False


def _is_activity(thing: Any) -> bool:
    return getattr(cast("type[object]", type(thing)), "kind", None) == "activity"


def _named_by(fn: Any) -> list[Any]:
    """The objects that the names in a function's code refer to outside of it, also in modules."""
    names = _names_in(fn.__code__)
    things = [fn.__globals__[name] for name in names if name in fn.__globals__]
    for module in [thing for thing in things if issubclass(type(thing), ModuleType)]:
        things += [vars(module)[name] for name in names if name in vars(module)]
    for cell in fn.__closure__ or ():
        with suppress(ValueError):  # not assigned yet
            things.append(cell.cell_contents)
    return things


@lru_cache(maxsize=1000)
def _names_in(code: CodeType) -> frozenset[str]:
    """The global names and the attributes in a function's code and in the functions inside of it."""
    inner = (_names_in(constant) for constant in code.co_consts if isinstance(constant, CodeType))
    return frozenset(code.co_names).union(*inner)


def _place(definition: Any) -> str:
    return f"{definition.fn.__module__}.{definition.fn.__qualname__}"


@dataclass(frozen=True, slots=True)
class Registry:
    """The definitions that one app works with, by name."""

    workflows: Mapping[str, Any] = field(default_factory=dict[str, Any])
    activities: Mapping[str, Any] = field(default_factory=dict[str, Any])
    compensations: Mapping[str, Any] = field(default_factory=dict[str, Any])
    own: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    """By workflow name: the activities that the workflow's code names, if their names are unique there."""
    errors: frozenset[str] = frozenset()
    """The names of the exception classes that workflows may catch as themselves."""

    def activities_of(self, workflow: str) -> Mapping[str, Any]:
        """The activities by name as this workflow means them: its own take precedence over others of the same name."""
        own = self.own.get(workflow, {})
        return self.activities if own.items() <= self.activities.items() else {**self.activities, **own}

    @classmethod
    def collect(cls, workflows: Iterable[Any] | None = None) -> Registry:
        """Everything declared so far, or these workflows with the activities whose names are unambiguous.

        Raises RegistrationError if two functions share a name where that matters: among the given workflows; anywhere,
        if the app takes everything; and where one workflow calls both and the log could not tell which of them to undo.
        """
        found: dict[str, list[Any]] = {kind: [] for kind in _KINDS}
        for definition in list(_declared.values()):
            found[definition.kind].append(definition)
        if workflows is not None:
            found["workflow"] = [_checked(workflow) for workflow in _each(workflows)]
        named = {
            kind: _by_name(kind, definitions, matters=_always if workflows is None or kind == "workflow" else _never)
            for kind, definitions in found.items()
        }
        own = {name: _own_activities(definition) for name, definition in named["workflow"].items()}
        its = chain(named["workflow"].values(), named["activity"].values(), *(each.values() for each in own.values()))
        registry = cls(named["workflow"], named["activity"], named["compensation"], own, _errors_of(its))
        registry.check(everything=workflows is None)
        return registry

    def check(self, *, everything: bool) -> None:
        """Check every type now. Types that could not be found at their declaration must be found by now.

        Raises RegistrationError for a type that is not found, or cannot be stored. With `everything` all activities are
        checked, else those that the code of the workflows names: the others may belong to other apps.
        """
        for workflow in self.workflows.values():
            workflow.check()
        for activity in self.activities.values() if everything else _activities_of(self.workflows.values()):
            activity.check()
