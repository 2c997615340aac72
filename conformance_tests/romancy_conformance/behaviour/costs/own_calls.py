"""Counts calls of Romancy's own Python functions in all threads: load on the machine does not change the count.

It counts each `call` event of `sys.setprofile` in a file of the library or of the adapter: a function that is called,
and a coroutine or a generator that resumes.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import defaultdict
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator
    from types import FrameType

    import pytest

__all__ = ["OwnCalls", "assume_a_fast_machine"]

_PACKAGES = ("romancy", "romancy_sqlite", "romancy_postgres", "romancy_mysql")


def assume_a_fast_machine(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the pace of the disk and of the machine from deciding how many calls there are."""
    if backend == "sqlite":  # a slow disk gives the commits to the writer's thread
        monkeypatch.setattr("romancy_sqlite._writer._INLINE_LIMIT", float("inf"))
    elif backend in ("mysql", "mariadb"):  # the slower a road, the more polls fall into it; stores of one process
        for pause in ("_QUICKEST", "_AT_ONCE_AFTER"):  # notify each other without a poll
            monkeypatch.setattr(f"romancy_mysql._wakeups.{pause}", 60.0)


class OwnCalls:
    """Counts while it is on. Turn it on before the app opens: it sees only threads that begin afterwards."""

    def __init__(self) -> None:
        found = [spec for spec in map(find_spec, _PACKAGES) if spec is not None]
        self._folders = tuple(f"{folder}{os.sep}" for spec in found for folder in spec.submodule_search_locations or ())
        self._is_own: dict[str, bool] = {}
        self._counts: defaultdict[int, int] = defaultdict(int)
        """One count for each thread, so that two threads never add to the same number."""

    @property
    def count(self) -> int:
        """Return the count so far."""
        return sum(self._counts.copy().values())

    @contextmanager
    def on(self) -> Generator[None]:
        """Count in this thread and in threads that begin before the block ends."""
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
