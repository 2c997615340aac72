"""Keeps Python from printing what goes wrong while a dropped run is closed: the run is gone, and nobody can mend it.

Python would report on stderr what ends with the objects of the run, such as a coroutine that was never awaited.
"""

from __future__ import annotations

import sys
import threading
import warnings
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["quiet"]

_UNAWAITED: Final = "_warn_unawaited_coroutine"
"""The function by which Python warns of coroutines that were never awaited."""


class _Here(threading.local):
    depth = 0


class _Quiet:
    """Silences the current thread inside `with quiet:`. Other threads are heard as before."""

    def __init__(self) -> None:
        self._here = _Here()
        self._lock = threading.Lock()
        self._inside = 0
        self._report: Any = None
        self._warn: Any = None

    def __enter__(self) -> None:
        self._here.depth += 1
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._report, sys.unraisablehook = sys.unraisablehook, self._unraisable
                self._warn = getattr(warnings, _UNAWAITED, None)
                setattr(warnings, _UNAWAITED, self._unawaited)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._here.depth -= 1
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                sys.unraisablehook = self._report
                setattr(warnings, _UNAWAITED, self._warn)

    def _unraisable(self, unraisable: Any) -> None:
        if not self._here.depth:
            self._report(unraisable)

    def _unawaited(self, coroutine: Any) -> None:
        if not self._here.depth and self._warn is not None:
            self._warn(coroutine)


quiet: Final = _Quiet()
