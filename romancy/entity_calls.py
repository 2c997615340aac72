"""Calls of entities, as programs and bodies make them: an object that stands for one of the class, and the circles."""

from __future__ import annotations

from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar, cast

from romancy.core import Message, kept
from romancy.errors import EntityCircleError, UsageError
from romancy.other_instance import call_entity
from romancy.registry import ENTITY
from romancy.serialization import loads

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from msgspec import Raw

    from romancy.core import Commands, Topic

__all__ = ["CALLERS", "Calls", "Declared", "calls_in_body", "entity_of", "refuse_circle"]

E = TypeVar("E")

CALLERS: Final[ContextVar[tuple[str, ...]]] = ContextVar("romancy_entity_chain", default=())
"""The instance ids of the entities that wait for what this code does, the outermost first."""


class Declared(Protocol):
    """A class of entities, as its callers know it."""

    @property
    def cls(self) -> type: ...
    @property
    def name(self) -> str: ...
    @property
    def topic(self) -> Topic: ...
    def id_of(self, key: str) -> str: ...
    def check_call(self, name: str) -> None: ...
    def call(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], stored: Callable[[bytes], int]) -> Raw: ...
    def reply_of(self, name: str) -> Any: ...


def entity_of(cls: type) -> Any:
    """What `@entity` has declared of a class. Raises UsageError if it is no entity."""
    given = cast("object", cls)
    found = vars(cls).get(ENTITY) if isinstance(given, type) else None
    if found is None:
        raise UsageError(f'{cls!r:.100} is no entity: put @entity("name") above the class')
    return found


def refuse_circle(instance_id: str) -> None:
    """Raise EntityCircleError if this entity waits for what this code does."""
    callers = CALLERS.get()
    if instance_id in callers:
        raise EntityCircleError(
            f"{instance_id} was called by what it waits for itself ({' → '.join((*callers, instance_id))}): it "
            "does one thing at a time, so both would wait for ever. Call it after the method has returned",
            instance_id=instance_id,
            callers=callers,
        )


class Calls:
    """Stands for an object of the class: its methods call the entity."""

    __slots__ = ("_call", "_declared", "_key")

    def __init__(
        self,
        declared: Declared,
        key: str,
        call: Callable[..., Coroutine[Any, Any, Any]],
    ) -> None:
        self._declared = declared
        self._key = key
        self._call = call

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        self._declared.check_call(name)
        return partial(self._call, name)  # without a frame of its own: a call that is never awaited is told by its line

    def __repr__(self) -> str:
        return f"<calls of the entity {self._declared.id_of(self._key)}>"


def calls_in_body(commands: Commands, kind: type[E], key: str, limit: float | None) -> E:
    """What stands for an entity in the body of a workflow."""
    declared: Declared = entity_of(kind)
    return cast("E", Calls(declared, key, _InBody(commands, declared, key, limit).call))


class _InBody:
    """Calls an entity from the body of a workflow."""

    def __init__(self, commands: Commands, declared: Declared, key: str, limit: float | None) -> None:
        self._commands = commands
        self._declared = declared
        self._key = key
        self._limit = limit
        self._instance_id = declared.id_of(key)

    @kept("ctx.entity(…)")
    async def call(self, name: str, /, *args: Any, **kwargs: Any) -> Any:
        declared, commands = self._declared, self._commands
        refuse_circle(self._instance_id)
        data = declared.call(name, args, kwargs, commands.stored)
        message = Message(topic=declared.topic, data=data, sender=commands.instance_id)
        what = f"{declared.cls.__qualname__}.{name}"
        answer = await call_entity(declared.name, self._key, self._instance_id, message, self._limit, what)
        return loads(answer, declared.reply_of(name), f"result of {what}")
