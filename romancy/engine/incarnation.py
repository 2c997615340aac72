"""The present identity of a worker: the token in its rows, and the nonces of its appends."""

from __future__ import annotations

import itertools

__all__ = ["Incarnation"]


class Incarnation:
    """A worker that was declared dead gets a new token and continues to count nonces."""

    __slots__ = ("numbers", "token")

    def __init__(self, token: str | None = None) -> None:
        self.token = token
        """None in a process without a worker, which owns nothing."""
        self.numbers = itertools.count(1)

    def nonce(self) -> str:
        """A nonce that no other append has."""
        return f"{self.token}.{next(self.numbers)}"
