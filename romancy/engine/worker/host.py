"""Where this process runs, and whether a worker that said where it runs is certainly gone.

"Certainly" means: same boot, same pid namespace, and the process with that pid is not there or is another one
(a pid is used again, a start time is not). Where the system cannot tell, nobody is ever certainly gone.
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
    """This process's own description; empty where the system does not tell."""
    pid = os.getpid()
    try:
        boot_id = (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        namespace = str((_PROC / "self/ns/pid").readlink())
        started = _started(pid)
    except OSError:
        return Host()
    return Host(boot_id=boot_id, pid_namespace=namespace, pid=pid, pid_start=started or 0)


def same_machine(other: Host, here: Host) -> bool:
    """Whether the two can see each other's processes."""
    return bool(here.boot_id) and (other.boot_id, other.pid_namespace) == (here.boot_id, here.pid_namespace)


def certainly_gone(other: Host, here: Host) -> bool:
    """Whether the process described by `other` has ended, beyond doubt."""
    if not same_machine(other, here):
        return False
    try:
        return _started(other.pid) != other.pid_start
    except OSError:
        return False


def _started(pid: int) -> int | None:
    """When the process started, in the kernel's ticks; None if there is no such process or only its corpse."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] == _ZOMBIE else int(fields[_START_TIME_FIELD])
