"""The plan of a parameter or a result without annotation: it says so when a value comes back as something else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from romancy.serialization._plan import Plan
from romancy.serialization._value_at_fault import type_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from romancy.serialization._value_at_fault import Where

__all__ = ["UntypedPlan", "hear_hints"]

_ears: list[Callable[[str], None]] = []


def hear_hints(ear: Callable[[str], None]) -> None:
    """Give all further hints to this function. Without one, nobody is told."""
    _ears[:] = [ear]


class UntypedPlan(Plan):
    """Values are plain JSON when they are read. A value that is more than that is told once for each type."""

    __slots__ = ("_annotation", "_told")

    def __init__(self, annotation: str) -> None:
        """`annotation`: how an annotation is written here, as in `order: {}`."""
        super().__init__(Any)
        self._annotation = annotation
        self._told: set[type] = set()

    def _look_closer(self, value: object, back: object, raw: bytes, where: Where | str) -> bytes:
        raw = super()._look_closer(value, back, raw, where)
        if type(value) is not type(back) and type(value) not in self._told:
            self._told.add(type(value))
            self._tell(type(value), type(back), where)
        return raw

    def _tell(self, given: type, arrives: type, where: Where | str) -> None:
        write = self._annotation.format(given.__name__)
        for ear in _ears:
            ear(
                f"{where} has no annotation, so what is given as {type_name(given)} arrives as {type_name(arrives)}: "
                f"write `{write}`"
            )
