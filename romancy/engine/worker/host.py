"""Describes where this process runs, and tells whether the process of another worker is certainly gone.

"Certainly" means: the boot and the pid namespace are the same, and the process with that pid is missing or is another
one (pids are reused, start times are not). If the system cannot tell, no worker is certainly gone.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from romancy.storage.records import Host

__all__ = ["certainly_gone", "same_machine", "this_host"]

_PROC: Final = Path("/proc")
_START_TIME_FIELD: Final = 19
_ZOMBIE: Final = "Z"


def this_host() -> Host:
    """The description of this process; empty where the system does not provide it."""
    pid = os.getpid()
    try:
        boot_id = (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        namespace = str((_PROC / "self/ns/pid").readlink())
        started = _started(pid)
    except OSError:
        return Host()
    return Host(boot_id=boot_id, pid_namespace=namespace, pid=pid, pid_start=started or 0)


def same_machine(other: Host, here: Host) -> bool:
    """Whether processes of the two hosts can see each other."""
    return bool(here.boot_id) and (other.boot_id, other.pid_namespace) == (here.boot_id, here.pid_namespace)


def certainly_gone(other: Host, here: Host) -> bool:
    """Whether the process described by `other` has certainly ended."""
    if not same_machine(other, here):
        return False
    try:
        return _started(other.pid) != other.pid_start
    except OSError:
        return False


def _started(pid: int) -> int | None:
    """When the process started, in kernel ticks; None if there is no such process or only a zombie."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] == _ZOMBIE else int(fields[_START_TIME_FIELD])
