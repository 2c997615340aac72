"""The async generators that a run has begun, and when those that nobody finished are finished.

One whose last reference goes is finished there and then: that is the same on every replay. One that refers to itself,
through an exception it holds, say, is found by the garbage collector, whenever that comes. It is kept, and finished at
a point that the log determines: when nothing else can make the run go on, or at its end.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

__all__ = ["Generator", "Generators"]

Generator: TypeAlias = "AsyncGenerator[Any, Any]"

_MANY = 32


class _Begun(weakref.ref["AsyncGenerator[Any, Any]"]):
    __slots__ = ("key", "number")

    key: int
    number: int


class Generators:
    """Those of one run. It holds none that is in use or has ended."""

    __slots__ = ("_begun", "_fading", "_lost")

    def __init__(self) -> None:
        self._begun: dict[int, _Begun] = {}
        self._fading: dict[int, int] = {}
        """The numbers of those that have just gone, by their addresses: the collector tells of them only then."""
        self._lost: dict[int, Generator] = {}
        """What the collector found."""

    def meet(self, generator: Generator, number: int) -> None:
        """It begins, as the `number`th thing of its run."""
        begun = self._begun[number] = _Begun(generator, self._fade)
        begun.key, begun.number = id(generator), number
        if len(self._fading) > _MANY:
            self._fading.clear()

    def _fade(self, begun: Any) -> None:
        self._begun.pop(begun.number, None)
        self._fading[begun.key] = begun.number

    def lose(self, generator: Generator) -> None:
        """The collector has found it, on any thread."""
        self._lost[self._fading.pop(id(generator), 0)] = generator

    def lost(self) -> list[Generator]:
        """Those that the collector has found so far, in the order in which they began; they are nobody's then."""
        lost, self._lost = self._lost, {}
        return [lost[number] for number in sorted(lost)]

    def unfinished(self) -> list[Generator]:
        """All that have begun and not ended, in the order in which they began; the lost ones are nobody's then."""
        found, self._lost = self._lost, {}
        for number, begun in list(self._begun.items()):
            generator: Any = begun()
            if generator is not None and generator.ag_frame is not None:
                found[number] = generator
        return [found[number] for number in sorted(found)]

    def __bool__(self) -> bool:
        return bool(self._begun or self._lost)
