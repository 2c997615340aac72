"""Encodes in a worker's row which workflows it knows, how much it could take, and which suspects it holds and tries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "draining_in",
    "draining_told",
    "known_in",
    "names_in",
    "names_told",
    "release_in",
    "release_told",
    "retains_in",
    "retains_told",
    "room_in",
    "room_told",
    "suspects_in",
    "suspects_told",
    "tried_in",
    "versions_in",
]

_NAME: Final = "workflow="
_ROOM: Final = "room="
_SUSPECTS: Final = "suspects="
_TRIED: Final = "tried="
_RETAINS: Final = "retains="
_RELEASE: Final = "release="
_DRAINING: Final = "draining="
_PASSING: Final = (_ROOM, _SUSPECTS, _TRIED, _RETAINS, _RELEASE, _DRAINING)
"""Entries that change while the worker lives, or say nothing of its code."""


def names_told(names: Iterable[str]) -> list[str]:
    """The entries for these workflows in a worker's row, beside their versions."""
    return [_NAME + name for name in names]


def names_in(codes: Iterable[str]) -> set[str]:
    """The workflows that a worker with such a row knows."""
    return {code.removeprefix(_NAME) for code in codes if code.startswith(_NAME)}


def versions_in(codes: Iterable[str]) -> set[str]:
    """The versions of code that a worker with such a row runs."""
    return {code for code in codes if not code.startswith((_NAME, *_PASSING))}


def known_in(codes: Iterable[str]) -> frozenset[str]:
    """Everything that a worker with such a row says of the workflows that it knows."""
    return frozenset(code for code in codes if not code.startswith(_PASSING))


def room_told(room: Iterable[int]) -> str:
    """The entry for how many more instances of each kind a worker could take."""
    return _ROOM + ",".join(map(str, room))


def room_in(codes: Iterable[str]) -> list[int]:
    """How many more instances of each kind a worker with such a row could take at its last heartbeat."""
    told = _told(_ROOM, codes)
    return [int(part) for part in told.split(",") if part.isdigit()]


def suspects_told(number: int, tried: str) -> list[str]:
    """The entries for the suspects that a worker has not cleared yet, and for the one that it tries ("": none)."""
    return [*([f"{_SUSPECTS}{number}"] if number else []), *([_TRIED + tried] if tried else [])]


def suspects_in(codes: Iterable[str]) -> int:
    """How many suspects a worker with such a row had not cleared at its last heartbeat."""
    told = _told(_SUSPECTS, codes)
    return int(told) if told.isdigit() else 0


def tried_in(codes: Iterable[str]) -> str:
    """The id of the suspect that a worker with such a row tried at its last heartbeat; "" if it tried none."""
    return _told(_TRIED, codes)


def draining_told(attempts: int, instances: int) -> list[str]:
    """The entry of a worker that drains: how many attempts are at work, and how many instances it has."""
    return [f"{_DRAINING}{attempts},{instances}"]


def draining_in(codes: Iterable[str]) -> tuple[int, int] | None:
    """The attempts at work and the instances of a worker at its last heartbeat. None: it does not drain."""
    told = _told(_DRAINING, codes).split(",")
    return (int(told[0]), int(told[1])) if len(told) == 2 and all(map(str.isdigit, told)) else None  # noqa: PLR2004


def retains_told(mark: str) -> list[str]:
    """The entry for the rules by which a worker removes what is over ("": it removes nothing)."""
    return [_RETAINS + mark] if mark else []


def retains_in(codes: Iterable[str]) -> str:
    """The mark of the rules by which a worker with such a row removes what is over."""
    return _told(_RETAINS, codes)


def release_told(release: str) -> list[str]:
    """The entry for the name of the release that a worker is of ("": it has none)."""
    return [_RELEASE + release] if release else []


def release_in(codes: Iterable[str]) -> str:
    """The name of the release that a worker with such a row is of."""
    return _told(_RELEASE, codes)


def _told(what: str, codes: Iterable[str]) -> str:
    return next((code.removeprefix(what) for code in codes if code.startswith(what)), "")
