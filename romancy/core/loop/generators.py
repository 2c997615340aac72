"""Tracks the async generators of a run, and finishes abandoned ones at points that the log determines.

A generator whose last reference is dropped is finished at once, which is the same on every replay. A generator that
refers to itself, for example through an exception it holds, is found by the garbage collector at some arbitrary time.
The run keeps it and finishes it at a point that the log determines: when nothing else can make the run continue, or at
its end.
"""

from __future__ import annotations

import weakref
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable

__all__ = ["OWNERS", "Generator", "Generators", "Owner"]

Generator: TypeAlias = "AsyncGenerator[Any, Any]"

_MANY = 32


class Owner(Protocol):
    """The loop of the run whose code has begun a generator."""

    def abandon_generator(self, generator: Generator, /) -> None:
        """Take over a generator without references."""
        ...


OWNERS: Final[dict[int, Owner]] = {}
"""The loops whose code has begun the generators at these addresses.

Python keeps the hook that it calls with an abandoned generator from the generator's first step on. One hook serves all
runs of a thread, so it has to find out whose generator it got.
"""


class _Begun(weakref.ref["AsyncGenerator[Any, Any]"]):
    __slots__ = ("context", "key", "number")

    context: Context
    key: int
    number: int


class Generators:
    """The generators of one run. It keeps none alive that is in use, and none that has ended.

    Each is finished in the context in which it began, that of its task: its `finally` may reset context variables.
    """

    __slots__ = ("_begun", "_fading", "_loop", "_lost")

    def __init__(self, loop: Owner) -> None:
        self._loop = loop
        self._begun: dict[int, _Begun] = {}
        self._fading: dict[int, _Begun] = {}
        """The generators that were just freed, by their addresses.

        The collector reports them only after that.
        """
        self._lost: dict[int, tuple[Generator, Context]] = {}
        """The generators that the collector found."""

    def meet(self, generator: Generator, number: int, context: Context) -> None:
        """Record that the generator begins, as the `number`th object of its run."""
        begun = self._begun[number] = _Begun(generator, self._fade)
        begun.key, begun.number, begun.context = id(generator), number, context
        self._fading.pop(begun.key, None)  # of a generator that has ended, at the same address
        OWNERS[begun.key] = self._loop
        if len(self._fading) > _MANY:
            self._forget(list(self._fading))
            self._fading.clear()

    def close(self) -> None:
        """Own no generator any more: the run is torn down."""
        self._forget(list(self._fading))
        self._forget(key for key, generator in self._alive() if generator is None or generator.ag_frame is None)

    def _alive(self) -> list[tuple[int, Any]]:
        return [(begun.key, begun()) for begun in list(self._begun.values())]

    def _forget(self, keys: Iterable[int]) -> None:
        for key in keys:
            if OWNERS.get(key) is self._loop:
                del OWNERS[key]

    def _fade(self, begun: Any) -> None:
        self._begun.pop(begun.number, None)
        self._fading[begun.key] = begun

    def context_of(self, generator: Generator) -> Context:
        """The context in which a generator began that was just freed."""
        begun = self._fading.pop(id(generator), None)
        return copy_context() if begun is None else begun.context

    def lose(self, generator: Generator) -> None:
        """Record that the collector has found the generator. May be called on any thread."""
        begun = self._fading.pop(id(generator), None)
        if begun is None:
            self._lost[0] = (generator, Context())
        else:
            self._lost[begun.number] = (generator, begun.context)

    def lost(self) -> list[tuple[Generator, Context]]:
        """The generators that the collector has found so far, in the order in which they began.

        They are forgotten here.
        """
        lost, self._lost = self._lost, {}
        return [lost[number] for number in sorted(lost)]

    def unfinished(self) -> list[tuple[Generator, Context]]:
        """All generators that have begun and not ended, in the order in which they began. Lost ones stay recorded."""
        known: dict[int, tuple[Any, Context]] = dict(self._lost)
        for number, begun in list(self._begun.items()):
            generator = begun()
            if generator is not None:
                known[number] = (generator, begun.context)
        return [known[number] for number in sorted(known) if known[number][0].ag_frame is not None]

    def __bool__(self) -> bool:
        return bool(self._begun or self._lost)
