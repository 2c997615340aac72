"""The settings in a `sqlite://` URL, checked before any file is touched."""

from __future__ import annotations

import re
import sys
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING

from msgspec import Struct

from romancy.errors import StorageConfigurationError
from romancy.storage.sql import DEFAULT_PREFIX, check_prefix
from romancy.storage.sqlkit.options import Options

if TYPE_CHECKING:
    from romancy.storage.url import StorageURL

__all__ = ["Settings", "read_settings"]

_OPTIONS = {"prefix": DEFAULT_PREFIX, "lock_timeout": "60", "session_limit": "30"}
_SHORTEST = 0.001
_ON_WINDOWS = sys.platform == "win32"
_DEVICE = re.compile(r"(?:aux|con|nul|prn|com\d|lpt\d)(?:\..*)?", re.IGNORECASE)


class Settings(Struct, frozen=True, kw_only=True):
    """Where the file is, and the time limits."""

    path: Path
    prefix: str = DEFAULT_PREFIX
    lock_timeout: float = 60.0
    """Seconds to wait for other processes that lock the file before the database counts as unavailable."""
    session_limit: float = 30.0
    """Seconds that a session may keep every other writer waiting."""


def read_settings(url: StorageURL) -> Settings:
    """The URL's path and options. A relative path is fixed to the present working directory."""
    options = Options(url, _OPTIONS)
    return Settings(
        path=_path(url),
        prefix=check_prefix(options["prefix"]),
        lock_timeout=options.number("lock_timeout", _SHORTEST),
        session_limit=options.number("session_limit", _SHORTEST),
    )


def _path(url: StorageURL) -> Path:
    if url.host or url.user is not None or url.port is not None:
        raise StorageConfigurationError(
            f"storage URL {url}: a file has no host; write three slashes before a relative path "
            "(sqlite:///orders.db) or a drive of Windows (sqlite:///C:/data/orders.db), and four before "
            "an absolute path (sqlite:////var/lib/orders.db)"
        )
    name = url.path.removeprefix("/")
    if name in ("", ":memory:"):
        raise StorageConfigurationError(
            f"storage URL {url}: names no file; several connections cannot share a database in memory. "
            "Use memory:// for a store that lives in this process, or name a file"
        )
    if "\x00" in name:
        raise StorageConfigurationError(f"storage URL {url}: the path holds a NUL character; remove it")
    if _ON_WINDOWS and _DEVICE.fullmatch(PureWindowsPath(name).name):
        raise StorageConfigurationError(f"storage URL {url}: Windows reserves this name for a device; name a file")
    return Path(name).absolute()
