"""The folder that keeps what is expensive to make: unpacked packages and freshly initialised data.

A folder under its final name is complete: the builder makes it under another name, under a lock, and then renames it.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from .account import is_reachable, server_account
from .kinds import ServerUnavailableError
from .processes import clear_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

if sys.platform == "win32":
    import msvcrt

    def _lock(file: int) -> None:
        while True:
            with suppress(OSError):  # it gives up after ten seconds
                return msvcrt.locking(file, msvcrt.LK_LOCK, 1)

else:
    import fcntl

    def _lock(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_EX)


_SYSTEM_CACHE = Path("/var/cache/romancy")
_HELP = "set ROMANCY_CACHE to a folder that can be written"


def cache_folder() -> Path:
    """Return the cache folder: $ROMANCY_CACHE, $XDG_CACHE_HOME/romancy or ~/.cache/romancy.

    The account that servers run under usually cannot read root's home; then the folder is in the system's cache.
    """
    if chosen := os.environ.get("ROMANCY_CACHE"):
        folder = Path(chosen).absolute()
        if not is_reachable(folder):
            raise ServerUnavailableError(
                f"the account that servers run under cannot reach ROMANCY_CACHE={folder}: "
                "choose a folder whose parents let others pass (chmod o+x)"
            )
        return folder
    home = Path(os.environ.get("XDG_CACHE_HOME") or _home() / ".cache").absolute() / "romancy"
    return home if is_reachable(home) else _SYSTEM_CACHE


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:
        raise ServerUnavailableError(f"this account has no home folder for the cache of servers; {_HELP}") from None


@contextmanager
def locked(path: Path) -> Generator[None]:
    """Hold a lock on `path` against other processes; the lock of a process that dies is released."""
    _make_open_folder(path.parent)
    with path.open("a") as handle:
        _lock(handle.fileno())
        yield


def build_once(folder: Path, build: Callable[[Path], None]) -> Path:
    """Return `folder`; if it is not there yet, build it with `build(temporary folder)`, completely or not at all."""
    if folder.exists():
        return folder
    try:
        with locked(folder.with_name(f"{folder.name}.lock")):
            if not folder.exists():
                unfinished = folder.with_name(f"{folder.name}.new")
                clear_folder(unfinished)  # left by a killed builder, whose database may still use it
                _make_open_folder(unfinished)
                build(unfinished)
                unfinished.rename(folder)
    except OSError as error:
        raise ServerUnavailableError(
            f"the cache {folder.parent} cannot be written: {in_words(error)}; {_HELP}"
        ) from error
    return folder


def in_words(error: OSError) -> str:
    """Return what the system said, without paths; copying a folder reports a list of triples for one cause."""
    if isinstance(error, shutil.Error):
        _, _, said = error.args[0][0]
        return re.sub(r"^\[Errno \d+\] |: '.*", "", str(said))
    return error.strerror or str(error)


def _make_open_folder(folder: Path) -> None:
    """Make a folder and its missing parents. If servers run under another account, it may pass, whatever the umask."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    if server_account() is not None:
        for path in missing:
            path.chmod(0o755)
