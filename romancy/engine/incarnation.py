"""Who a worker is at present: the token that its rows bear, and marks that nobody else makes."""

from __future__ import annotations

import itertools

__all__ = ["Incarnation"]


class Incarnation:
    """The token changes when the worker was declared dead and begins anew; the numbers go on."""

    __slots__ = ("numbers", "token")

    def __init__(self, token: str | None = None) -> None:
        self.token = token
        """None: a process without a worker, which owns nothing."""
        self.numbers = itertools.count(1)

    def nonce(self) -> str:
        """A mark that no other append bears."""
        return f"{self.token}.{next(self.numbers)}"
