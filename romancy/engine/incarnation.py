"""What a worker adds to all it writes: the token in its rows, ids that only it makes, and the time."""

from __future__ import annotations

import itertools
import platform
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from romancy.engine.clock import DatabaseClock

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["RUNTIME", "Incarnation"]

RUNTIME: Final = f"{platform.python_implementation()} {platform.python_version()}, anyio {version('anyio')}"
"""The runtime, for the log: a change of Python or anyio may explain a divergence."""


class Incarnation:
    """A worker that was declared dead gets a new token and continues to count."""

    __slots__ = ("_numbers", "clock", "nonce", "token")

    def __init__(self, token: str | None = None, clock: DatabaseClock | None = None) -> None:
        self.clock = clock or DatabaseClock()
        self._numbers = itertools.count(1)
        self.token: str | None
        """None in a process without a worker, which owns nothing."""
        self.nonce: Callable[[], str]
        """Makes a nonce that no other append has."""
        self.begins_anew(token)

    def begins_anew(self, token: str | None) -> None:
        """Use this token from now on."""
        self.token = token
        self.nonce = map(f"{token}.".__add__, map(str, self._numbers)).__next__

    def stamp(self) -> str:
        """An id for a message. The ids of one worker sort in the order in which they were made."""
        return f"{self.clock.mark():016x}{next(self._numbers):08x}{self.token}"
