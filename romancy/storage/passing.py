"""How one thing stands before another of the same protocol, changes some members and passes the others on.

    class Deaf(Passing["Store"], Store):
        async def heartbeat(self, worker: Worker, /) -> Pulse: ...

    store = changed_by(store, Deaf)

What the class defines is changed, and both type checkers hold it against the protocol. Every other member is the other
thing's own, so passing on costs nothing, and a member that is added to a protocol is passed on without an edit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Concatenate, Generic, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Passing", "changed_by"]

P = ParamSpec("P")
T = TypeVar("T")
Changed = TypeVar("Changed")


class Passing(Generic[T]):
    """The first base of a class that passes on. The protocol is the second one.

    Methods are taken over when an object is made. A property of the protocol is read from the other thing each time,
    unless an object assigns to it.
    """

    _bound: ClassVar[tuple[str, ...]] = ()

    def __init__(self, passed_to: T) -> None:
        self._passed_to = passed_to
        for name in self._bound:
            setattr(self, name, getattr(passed_to, name))

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        passed = _members_of_protocols(cls)
        cls._bound = tuple(name for name, member in passed.items() if not isinstance(member, property))
        for name, member in passed.items():
            if isinstance(member, property):
                setattr(cls, name, _Read(name))


class _Read:
    """A property of the other thing. It sets nothing, so that an attribute of the object goes before it."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, thing: Any, owner: type) -> Any:
        return self if thing is None else getattr(thing._passed_to, self._name)  # noqa: SLF001 - of `Passing`


def changed_by(thing: T, by: Callable[Concatenate[T, P], Changed], /, *arguments: P.args, **named: P.kwargs) -> Changed:
    """The thing as this class changes it.

    mypy takes a class that passes members on for an abstract one, and would refuse a direct call.
    """
    return by(thing, *arguments, **named)


def _members_of_protocols(cls: type) -> dict[str, Any]:
    """The members that no class but a protocol defines."""
    found: dict[str, Any] = {}
    for base in cls.__mro__:
        for name, member in vars(base).items():
            if not name.startswith("_"):
                found.setdefault(name, (base, member))
    return {name: member for name, (base, member) in found.items() if getattr(base, "_is_protocol", False)}
