"""The room of standbys: whether a server is a copy of another one, and how far its copy goes."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

__all__ = ["Standby", "Standing"]


class Standing(Struct, frozen=True, kw_only=True):
    """What a server says of itself, at one moment."""

    database: str
    """Equal for a database and its copies, and for nothing else."""
    copies: bool
    """Whether it is a standby: it takes no writes, and has what another server has written."""
    position: int
    """How many bytes of the log it has: the primary on its disk, a standby applied."""
    age: float | None
    """Of a standby: the seconds since the last transaction that it has was committed."""


class Standby(Protocol):
    """No call writes anything."""

    async def standing(self) -> Standing:
        """What the server says of itself now."""
        ...
