"""What the decorators have declared, and what one app sees of it.

Declaring only notes the definition; names are compared when an app looks. A definition with the same module and
qualified name as an earlier one replaces it, so that a reload or a notebook cell run twice is no conflict, and one
that nobody refers to any more is forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeVar
from weakref import WeakValueDictionary

from romancy.errors import RegistrationError

__all__ = ["Declared", "Registry", "declare"]

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
    """Note the definition for the apps to come."""
    fn = definition.fn
    _declared[definition.kind, fn.__module__, fn.__qualname__] = definition
    return definition


def _by_name(kind: str, definitions: Iterable[Any], *, strict: bool) -> dict[str, Any]:
    named: dict[str, Any] = {}
    ambiguous: set[str] = set()
    for definition in definitions:
        other = named.setdefault(definition.name, definition)
        if other is definition or other.fn is definition.fn:
            continue
        if strict:
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


def _place(definition: Any) -> str:
    return f"{definition.fn.__module__}.{definition.fn.__qualname__}"


@dataclass(frozen=True, slots=True)
class Registry:
    """The definitions one app works with, by name."""

    workflows: Mapping[str, Any] = field(default_factory=dict[str, Any])
    activities: Mapping[str, Any] = field(default_factory=dict[str, Any])
    compensations: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @classmethod
    def collect(cls, workflows: Iterable[Any] | None = None) -> Registry:
        """Everything declared so far, or these workflows with the activities whose names are unambiguous.

        Raises RegistrationError when two functions bear one name, where that matters: among the given workflows, or
        anywhere if the app takes everything.
        """
        found: dict[str, list[Any]] = {kind: [] for kind in _KINDS}
        for definition in list(_declared.values()):
            found[definition.kind].append(definition)
        if workflows is not None:
            found["workflow"] = [_checked(workflow) for workflow in _each(workflows)]
        named = {
            kind: _by_name(kind, definitions, strict=workflows is None or kind == "workflow")
            for kind, definitions in found.items()
        }
        return cls(named["workflow"], named["activity"], named["compensation"])
