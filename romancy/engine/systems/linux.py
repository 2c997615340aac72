"""Linux tells about processes in `/proc`. Systems without it, and a container that hides it, tell nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Final

__all__ = ["machine", "started"]

_PROC: Final = Path("/proc")
_START_TIME_FIELD: Final = 19
_ZOMBIE: Final = "Z"


def machine() -> tuple[str, str]:
    """The boot and the pid namespace."""
    boot_id = (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return boot_id, str((_PROC / "self/ns/pid").readlink())


def started(pid: int) -> int | None:
    """When the process started, in kernel ticks since boot."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] == _ZOMBIE else int(fields[_START_TIME_FIELD])
