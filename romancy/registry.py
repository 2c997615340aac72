"""The definitions that decorators have declared, and those of them that one app sees.

A decorator only records the definition; an app compares the names. A definition replaces an earlier one of the same
name and place (module and qualified name), so that a reload or a notebook cell that runs twice is no conflict. A
factory or a loop may declare several names in one place. A definition without references is forgotten.

Methods of two objects have one place, and may do different things. So neither replaces the other: an app refuses one
name for two objects if its workflows reach both, and knows by its name only an activity of the object that they reach.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from functools import cached_property
from inspect import unwrap
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, NoReturn, Protocol, TypeVar
from weakref import WeakValueDictionary

from romancy._logs import get_logger
from romancy.declaring.reaching import kind_of, owner_of, reached_from
from romancy.errors import NonDeterminismError, RegistrationError
from romancy.serialization import exception_name, hear_hints

if TYPE_CHECKING:
    from romancy.limit import Limit

__all__ = [
    "ENTITY",
    "Declared",
    "Registry",
    "declare",
    "declared_limits",
    "names_of_activities",
    "reached_from",
    "refuse_another",
]

hear_hints(get_logger("romancy").warning)

ENTITY: Final = "__romancy_entity__"
"""The attribute of a class that has what `@entity` has declared."""
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
_declared: WeakValueDictionary[tuple[str, str, str, str, int], Any] = WeakValueDictionary()
"""By kind, module, qualified name, name, and for a method the object, which its definition keeps alive."""


def declare(definition: D) -> D:
    """Record the definition for apps that are made later."""
    fn, owner = definition.fn, owner_of(definition)
    place = fn.__module__, fn.__qualname__, definition.name, 0 if owner is None else id(owner)
    _declared[definition.kind, *place] = definition
    return definition


def declared_limits() -> list[Limit]:
    """The limits under which workflows and activities are declared."""
    found: list[Limit] = []
    for one in list(_declared.values()):
        if one.kind == "workflow":
            found += one.limits
        elif one.kind == "activity":
            found += one.given.limits
    return found


def _all_declared() -> list[Any]:
    """Everything declared that something refers to.

    Objects with an activity as an attribute are cycles. If one name has several objects, those that are only garbage
    are collected: the answer must not depend on when that happens by itself.
    """
    places = [place for *place, owner in list(_declared.keys()) if owner]
    if len(places) > len(set(map(tuple, places))):
        gc.collect()
    return list(_declared.values())


def _unique(definitions: Iterable[Any]) -> dict[str, Any]:
    """The definitions by name, without names that several functions, or methods of several objects, bear."""
    named: dict[str, Any] = {}
    ambiguous: set[str] = set()
    for definition in definitions:
        if named.setdefault(definition.name, definition).fn != definition.fn:
            ambiguous.add(definition.name)
    return {name: definition for name, definition in named.items() if name not in ambiguous}


def _told_apart(definitions: Iterable[Any], *, also_in_one_place: bool = False) -> dict[str, Any]:
    """The definitions by name. Raises RegistrationError if two places declare one name, or methods of two objects.

    `also_in_one_place`: also if one place declared a name twice, and both definitions are here.
    """
    named: dict[str, Any] = {}
    for definition in definitions:
        other = named.setdefault(definition.name, definition)
        if other.fn == definition.fn:
            continue
        if _place(other) != _place(definition):
            _refuse_two(other, definition)
        if owner_of(other) is not owner_of(definition):
            _refuse_two_objects(other, definition)
        if also_in_one_place:
            _refuse_two(other, definition)
    return named


def _in_different_places(definitions: Iterable[Any]) -> None:
    """Raise RegistrationError if two places declare one name."""
    named: dict[str, Any] = {}
    for definition in definitions:
        refuse_another(named.setdefault(definition.name, definition), definition)


def refuse_another(known: Any, definition: Any) -> None:
    """Raise RegistrationError if another place declared this definition than the one that the app knows.

    A workflow that is known by its name alone has no place.
    """
    if type(known) is type(definition) and _place(known) != _place(definition):
        _refuse_two(known, definition)


def _refuse_two(one: Any, other: Any) -> NoReturn:
    kind = one.kind
    raise RegistrationError(
        f"two functions declare the {kind} {one.name!r}: {_place(one)} and {_place(other)}. "
        f'Give one of them another name with @{kind}(name="…").'
    )


def _refuse_two_objects(one: Any, other: Any) -> NoReturn:
    kind, name = one.kind, one.name
    places = f"{_place(one)} (declared in {one.declared_at}) and {_place(other)} (declared in {other.declared_at})"
    raise RegistrationError(
        f"methods of two objects are declared as the {kind} {name!r}: {places}. A call would not tell which object is "
        f'meant. Give each a name of its own, as in {kind}(billing.charge, name=f"{{billing.name}}.charge")'
    )


def _each(workflows: Any) -> list[Any]:
    if isinstance(workflows, str) or not hasattr(workflows, "__iter__"):
        raise RegistrationError(f"workflows= takes a list of workflows, not {type(workflows).__name__}")
    return list(workflows)


def _checked(given: Any) -> Any:
    """The workflow, or that of a class of entities."""
    declared = vars(given).get(ENTITY) if isinstance(given, type) else None
    workflow = given if declared is None else declared.workflow
    if getattr(workflow, "kind", None) != "workflow":
        raise RegistrationError(f"workflows= takes functions decorated with @workflow, not a {type(workflow).__name__}")
    return workflow


def _code_of(definitions: Iterable[Any]) -> Iterator[Any]:
    """The functions of the user's that these definitions run."""
    for definition in definitions:
        yield definition.fn
        yield from getattr(definition, "beside", ())


def _activities_of(workflows: Iterable[Any]) -> list[Any]:
    """The activities that the code of these workflows names, directly or through functions of the same module."""
    things = reached_from(_code_of(workflows))
    return list({id(thing): thing for thing in things if kind_of(thing) == "activity"}.values())


def names_of_activities(workflow: Declared) -> frozenset[str]:
    """The names of the activities that the code of this workflow names."""
    return frozenset(activity.name for activity in _activities_of([workflow]))


class _ErrorNames(AbstractSet[str]):
    """The names of the exception classes that definitions can reach, by their modules or by their code.

    It looks into every module of theirs, so it does so when a name is first asked for, which is at the first failure.
    """

    def __init__(self, definitions: Iterable[Any]) -> None:
        self._definitions = list(definitions)

    @cached_property
    def _names(self) -> frozenset[str]:
        return _errors_of(self._definitions)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _errors_of(definitions: Iterable[Any]) -> frozenset[str]:
    functions = [unwrap(fn) for fn in _code_of(definitions)]
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


def _check_reached(workflows: list[Any], activities: list[Any]) -> None:
    """Raise RegistrationError if two places declare one name, and the code of the workflows reaches both."""
    reached = list(reached_from(_code_of(workflows)))
    _told_apart([*workflows, *(thing for thing in reached if kind_of(thing) == "workflow")])
    _told_apart(activities)
    _told_apart(activity.undo for activity in activities if activity.undo is not None)


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
    errors: AbstractSet[str] = frozenset()
    """The names of the exception classes that workflows may catch as themselves."""
    release: str = ""
    """The name of the release that the app is of."""

    def activities_of(self, workflow: str) -> Mapping[str, Any]:
        """The activities by name as this workflow means them: its own take precedence over others of the same name."""
        own = self.own.get(workflow, {})
        return self.activities if own.items() <= self.activities.items() else {**self.activities, **own}

    def also_knowing(self, workflows: Iterable[Any]) -> Registry:
        """This registry and workflows of the library itself, which no app has to name."""
        added = {workflow.name: workflow for workflow in workflows}
        own = {name: _unique(_activities_of([workflow])) for name, workflow in added.items()}
        return replace(self, workflows={**added, **self.workflows}, own={**own, **self.own})

    @classmethod
    def collect(cls, workflows: Iterable[Any] | None = None) -> Registry:
        """Everything declared so far, or these workflows with the activities whose names are unambiguous.

        Raises RegistrationError if two places declare one name and the app reaches both: among the given workflows and
        in what their code names (children, activities and compensations), or anywhere, if the app takes everything.
        """
        found: dict[str, list[Any]] = {kind: [] for kind in _KINDS}
        for definition in _all_declared():
            found[definition.kind].append(definition)
        if workflows is not None:
            found["workflow"] = [_checked(workflow) for workflow in _each(workflows)]
        named = {"workflow": _told_apart(found["workflow"], also_in_one_place=True)}
        reached = _activities_of(named["workflow"].values())
        _check_reached(list(named["workflow"].values()), reached)
        for kind in ("activity", "compensation"):
            if workflows is None:
                _in_different_places(found[kind])
            named[kind] = _unique(found[kind])
        own = {name: _unique(_activities_of([definition])) for name, definition in named["workflow"].items()}
        its = chain(named["workflow"].values(), named["activity"].values(), *(each.values() for each in own.values()))
        registry = cls(named["workflow"], named["activity"], named["compensation"], own, _ErrorNames(its))
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
