"""Encodes in a worker's row which workflows it knows: their names, beside the versions of their code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["names_in", "names_told", "versions_in"]

_NAME: Final = "workflow="


def names_told(names: Iterable[str]) -> list[str]:
    """The entries for these workflows in a worker's row, beside their versions."""
    return [_NAME + name for name in names]


def names_in(codes: Iterable[str]) -> set[str]:
    """The workflows that a worker with such a row knows."""
    return {code.removeprefix(_NAME) for code in codes if code.startswith(_NAME)}


def versions_in(codes: Iterable[str]) -> set[str]:
    """The versions of code that a worker with such a row runs."""
    return {code for code in codes if not code.startswith(_NAME)}
