"""The folder that keeps what is costly to make: unpacked packages and freshly initialised data.

What stands under its final name is complete: it is built under another name, under a lock, and then renamed.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from .account import is_reachable
from .kinds import ServerUnavailableError
from .processes import clear_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

_SYSTEM_CACHE = Path("/var/cache/romancy")


def cache_folder() -> Path:
    """Where the cache is: $ROMANCY_CACHE, $XDG_CACHE_HOME/romancy or ~/.cache/romancy.

    Root's home is mostly closed to the account that servers run under; then it is the system's cache folder.
    """
    if chosen := os.environ.get("ROMANCY_CACHE"):
        folder = Path(chosen).absolute()
        if not is_reachable(folder):
            raise ServerUnavailableError(
                f"the account that servers run under cannot reach ROMANCY_CACHE={folder}: "
                "choose a folder whose parents let others pass (chmod o+x)"
            )
        return folder
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "romancy"
    return home if is_reachable(home) else _SYSTEM_CACHE


@contextmanager
def locked(path: Path) -> Generator[None]:
    """Hold `path` against every other process; a process that dies lets go."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def build_once(folder: Path, build: Callable[[Path], None]) -> Path:
    """Return `folder`, made by `build(temporary folder)` if it is not there yet: complete or not at all."""
    if folder.exists():
        return folder
    with locked(folder.with_name(f"{folder.name}.lock")):
        if not folder.exists():
            unfinished = folder.with_name(f"{folder.name}.new")
            clear_folder(unfinished)  # of a builder that was killed, whose database may still be at it
            unfinished.mkdir()
            build(unfinished)
            unfinished.rename(folder)
    return folder
