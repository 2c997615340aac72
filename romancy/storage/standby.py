"""The service for standbys: whether a server is a copy of another one, and how far its copy goes."""

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
    bytes: int | None = None
    """How many bytes of the log it has: the primary on its disk, a standby applied. None: the server does not tell."""
    transactions: dict[str, int] | None = None
    """How many transactions it has of each origin. None: the server does not tell."""
    age: float | None
    """Of a standby: the seconds since the last transaction that it has was committed."""

    def lacks(self, original: Standing) -> tuple[int | None, int | None]:
        """How many bytes and how many transactions of the original it does not have. None: that is unknown."""
        size = None if original.bytes is None or self.bytes is None else max(0, original.bytes - self.bytes)
        if original.transactions is None or self.transactions is None:
            return size, None
        here = self.transactions
        return size, sum(max(0, number - here.get(origin, 0)) for origin, number in original.transactions.items())


class Standby(Protocol):
    """No call writes anything."""

    async def standing(self) -> Standing:
        """What the server says of itself now."""
        ...
