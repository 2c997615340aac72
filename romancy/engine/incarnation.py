"""The present identity of a worker: the token in its rows, and marks that nobody else makes."""

from __future__ import annotations

import itertools

__all__ = ["Incarnation"]


class Incarnation:
    """The token changes when a worker was declared dead and begins anew; the numbers continue."""

    __slots__ = ("numbers", "token")

    def __init__(self, token: str | None = None) -> None:
        self.token = token
        """None in a process without a worker, which owns nothing."""
        self.numbers = itertools.count(1)

    def nonce(self) -> str:
        """A mark that no other append has."""
        return f"{self.token}.{next(self.numbers)}"
