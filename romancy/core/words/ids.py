"""Ids for the commands of a run: "{name}:{n}", counted per kind and name, and ids that the user chose."""

from __future__ import annotations

import hashlib
from typing import Final

from romancy.core.words.shared_empty import NO_DICT
from romancy.errors import UsageError

_LONGEST_ID: Final = 255
"""The longest instance id, in bytes, that every store accepts."""
_DIGITS: Final = 18
"""More digits than any count of a run has."""

__all__ = ["Ids", "automatic_child", "derive", "idempotency_key"]


class Ids:
    """The ids of one run's commands. Only counts and chosen ids are kept, whatever the length of the history."""

    __slots__ = ("_chosen", "_counts")

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._chosen: dict[str, None] = NO_DICT

    def number(self, kind: str, name: str) -> str:
        """The next id of a command other than an activity. Each kind has its own count."""
        key = f"{kind}\0{name}"
        number = self._counts[key] = self._counts.get(key, 0) + 1
        return f"{name}:{number}"

    def activity(self, name: str) -> str:
        """The next automatic id of an activity. Numbers that a chosen id occupies are skipped."""
        number = self._counts.get(name, 0) + 1
        while self._chosen and f"{name}:{number}" in self._chosen:
            number += 1
        self._counts[name] = number
        return f"{name}:{number}"

    def choose(self, chosen: str) -> str:
        """Take an id that the user chose for an activity. Raises UsageError when it is empty or taken."""
        name, _, number = chosen.rpartition(":")
        automatic = len(number) < _DIGITS and number.isascii() and number.isdigit() and str(int(number)) == number
        taken = automatic and int(number) <= self._counts.get(name, 0)
        if not chosen or taken or chosen in self._chosen:
            raise UsageError(f"the activity id {chosen!r} is already taken in this workflow run; choose another")
        if self._chosen is NO_DICT:
            self._chosen = {}
        self._chosen[chosen] = None
        return chosen


def derive(instance_id: str, nonce: str, *path: str | int) -> bytes:
    """32 bytes that depend only on the instance, the run and the path."""
    return hashlib.sha256("\0".join([instance_id, nonce, *map(str, path)]).encode("utf-8", "surrogatepass")).digest()


def idempotency_key(instance_id: str, nonce: str, activity_id: str) -> str:
    """The key of an activity: the same for all its attempts and workers, different in every run and life of the id."""
    return derive(instance_id, nonce, "activity", activity_id).hex()[:32]


def automatic_child(instance_id: str, nonce: str, child_id: str) -> str:
    """The instance id of a child for which none was chosen. It has no slash, so that any route takes it."""
    life = derive(instance_id, nonce, "child", child_id).hex()
    automatic = f"{instance_id}.{child_id}-{life[:8]}".replace("/", ".")
    if len(automatic.encode("utf-8", "surrogatepass")) > _LONGEST_ID:
        return life[:32]  # automatic ids of nested children grow too long
    return automatic
