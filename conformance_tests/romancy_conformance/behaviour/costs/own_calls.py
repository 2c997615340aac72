"""How many Python functions of Romancy's own are called, in all threads: a count that no load of the machine blurs.

What counts is each `call` event of `sys.setprofile` in a file of the library or of the adapter: a function that is
called, and a coroutine or a generator that goes on.
"""

from __future__ import annotations

import sys
import threading
from collections import defaultdict
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator
    from types import FrameType

__all__ = ["OwnCalls"]

_PACKAGES = ("romancy", "romancy_sqlite", "romancy_postgres", "romancy_mysql")


class OwnCalls:
    """Counts while it is on. Turn it on before the app opens: only threads that begin afterwards are seen."""

    def __init__(self) -> None:
        found = [spec for spec in map(find_spec, _PACKAGES) if spec is not None]
        self._folders = tuple(f"{folder}/" for spec in found for folder in spec.submodule_search_locations or ())
        self._is_own: dict[str, bool] = {}
        self._counts: defaultdict[int, int] = defaultdict(int)
        """By thread: two of them never add to the same number."""

    @property
    def count(self) -> int:
        """How many there were."""
        return sum(self._counts.copy().values())

    @contextmanager
    def on(self) -> Generator[None]:
        """Count in this thread and in those that begin until the block ends."""
        threading.setprofile(self._note)
        sys.setprofile(self._note)
        try:
            yield
        finally:
            sys.setprofile(None)
            threading.setprofile(None)

    def _note(self, frame: FrameType, event: str, _: object) -> None:
        if event != "call":
            return
        file = frame.f_code.co_filename
        own = self._is_own.get(file)
        if own is None:
            own = self._is_own[file] = file.startswith(self._folders)
        if own:
            self._counts[threading.get_ident()] += 1
