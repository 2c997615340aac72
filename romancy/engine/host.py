"""Describes where this process runs, and tells whether the process of another worker is certainly gone.

"Certainly" means: the boot and the space of pids are the same, and the process with that pid is missing or is another
one (pids are reused, start times are not). If the system cannot tell, no worker is certainly gone.
"""

from __future__ import annotations

import os
import sys

from romancy.storage.records import Host

if sys.platform == "win32":
    from romancy.engine.systems.windows import machine, started
elif sys.platform == "darwin":
    from romancy.engine.systems.macos import machine, started
else:
    from romancy.engine.systems.linux import machine, started

__all__ = ["certainly_gone", "same_machine", "started", "this_host"]


def this_host() -> Host:
    """The description of this process; empty where the system does not provide it."""
    pid = os.getpid()
    try:
        boot_id, namespace = machine()
        return Host(boot_id=boot_id, pid_namespace=namespace, pid=pid, pid_start=started(pid) or 0)
    except OSError:
        return Host()


def same_machine(other: Host, here: Host) -> bool:
    """Whether processes of the two hosts can see each other."""
    return bool(here.boot_id) and (other.boot_id, other.pid_namespace) == (here.boot_id, here.pid_namespace)


def certainly_gone(other: Host, here: Host) -> bool:
    """Whether the process described by `other` has certainly ended."""
    if not same_machine(other, here):
        return False
    try:
        return started(other.pid) != other.pid_start
    except OSError:
        return False
