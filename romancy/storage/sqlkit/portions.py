"""Cuts a batch into portions for one transaction each."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["portions"]

T = TypeVar("T")


def portions(
    items: Iterable[T], weight: Callable[[T], int], heaviest: int, most: int | None = None
) -> Iterator[list[T]]:
    """The items in order, in portions. Each has one item at least, and otherwise at most this weight and number."""
    portion: list[T] = []
    total = 0
    for item in items:
        cost = weight(item)
        if portion and (total + cost > heaviest or len(portion) == most):
            yield portion
            portion, total = [], 0
        portion.append(item)
        total += cost
    if portion:
        yield portion
