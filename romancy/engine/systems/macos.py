"""macOS tells about processes through sysctl(3), for the processes of every user."""

from __future__ import annotations

import ctypes
import os
import struct
from functools import cache
from typing import Any, Final

__all__ = ["machine", "started"]

_BOOT: Final = b"kern.bootsessionuuid"
_PROCESS: Final = (1, 14, 1)
"""CTL_KERN, KERN_PROC, KERN_PROC_PID; a pid follows."""
_ROOM: Final = 1024
"""More than a `struct kinfo_proc`. It begins with the start time (s and µs), two pointers, flags and the state."""
_HEAD: Final = struct.Struct("=qi4xqqib")
_ZOMBIE: Final = 5
_MICRO: Final = 1_000_000


def machine() -> tuple[str, str]:
    """The boot; macOS has one space of pids."""
    answer, size = ctypes.create_string_buffer(_ROOM), ctypes.c_size_t(_ROOM)
    _check(_libc().sysctlbyname(_BOOT, answer, ctypes.byref(size), None, ctypes.c_size_t(0)))
    return answer.value.decode("ascii"), "macOS"


def started(pid: int) -> int | None:
    """When the process started, in microseconds of the wall clock at that time."""
    name = (ctypes.c_int * 4)(*_PROCESS, pid)
    answer, size = ctypes.create_string_buffer(_ROOM), ctypes.c_size_t(_ROOM)
    _check(_libc().sysctl(name, ctypes.c_uint(4), answer, ctypes.byref(size), None, ctypes.c_size_t(0)))
    if size.value < _HEAD.size:
        return None
    seconds, micros, _, _, _, state = _HEAD.unpack_from(answer.raw)
    return None if state == _ZOMBIE else int(seconds) * _MICRO + int(micros)


@cache
def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def _check(status: int) -> None:
    if status:
        number = ctypes.get_errno()
        raise OSError(number, f"sysctl: {os.strerror(number)}")
