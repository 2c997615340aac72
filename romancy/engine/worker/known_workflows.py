"""Encodes in a worker's row which workflows it knows, beside the versions of their code, and how much it could take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["known_in", "names_in", "names_told", "room_in", "room_told", "versions_in"]

_NAME: Final = "workflow="
_ROOM: Final = "room="


def names_told(names: Iterable[str]) -> list[str]:
    """The entries for these workflows in a worker's row, beside their versions."""
    return [_NAME + name for name in names]


def names_in(codes: Iterable[str]) -> set[str]:
    """The workflows that a worker with such a row knows."""
    return {code.removeprefix(_NAME) for code in codes if code.startswith(_NAME)}


def versions_in(codes: Iterable[str]) -> set[str]:
    """The versions of code that a worker with such a row runs."""
    return {code for code in codes if not code.startswith((_NAME, _ROOM))}


def known_in(codes: Iterable[str]) -> frozenset[str]:
    """Everything that a worker with such a row says of the workflows that it knows."""
    return frozenset(code for code in codes if not code.startswith(_ROOM))


def room_told(room: Iterable[int]) -> str:
    """The entry for how many more instances of each kind a worker could take."""
    return _ROOM + ",".join(map(str, room))


def room_in(codes: Iterable[str]) -> list[int]:
    """How many more instances of each kind a worker with such a row could take at its last heartbeat."""
    told = [code.removeprefix(_ROOM) for code in codes if code.startswith(_ROOM)]
    return [int(part) for part in told[0].split(",") if part.isdigit()] if told else []
