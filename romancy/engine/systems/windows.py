"""Windows tells about processes through kernel32, and about its boot through ntdll.

The boot is the time at which the kernel started, before later changes of the clock. Machines that were copied share
their id in the registry, so it counts together with that time; containers share both, and differ in their names.
"""

from __future__ import annotations

import ctypes
import hashlib
import platform
import sys
import winreg
from ctypes import wintypes
from functools import cache
from typing import Final

assert sys.platform == "win32"  # noqa: S101 - tells the type checkers which system this is

__all__ = ["machine", "started"]

_MACHINE: Final = r"SOFTWARE\Microsoft\Cryptography"
_TIME_OF_DAY: Final = 3
_ASKING: Final = 0x1000 | 0x0010_0000
"""PROCESS_QUERY_LIMITED_INFORMATION and SYNCHRONIZE."""
_NO_SUCH_PROCESS: Final = 87
"""ERROR_INVALID_PARAMETER, which OpenProcess gives for a pid without a process."""
_ENDED: Final = 0
"""WAIT_OBJECT_0."""


class _TimeOfDay(ctypes.Structure):
    """SYSTEM_TIMEOFDAY_INFORMATION."""

    _fields_ = (
        ("booted", ctypes.c_int64),
        ("now", ctypes.c_int64),
        ("zone_bias", ctypes.c_int64),
        ("zone_id", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
        ("booted_bias", ctypes.c_uint64),
        ("sleep_bias", ctypes.c_uint64),
    )


def machine() -> tuple[str, str]:
    """The machine and its boot, and the name of the machine or container."""
    with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, _MACHINE, 0, winreg.KEY_READ | winreg.KEY_WOW64_64KEY) as key:
        guid, _ = winreg.QueryValueEx(key, "MachineGuid")
    times = _TimeOfDay()
    ntdll = ctypes.WinDLL("ntdll")
    if ntdll.NtQuerySystemInformation(_TIME_OF_DAY, ctypes.byref(times), ctypes.sizeof(times), None):
        raise OSError("the system does not tell when it started")
    booted = times.booted - times.booted_bias
    return hashlib.sha256(f"{guid} {booted}".encode()).hexdigest()[:32], platform.node()


def started(pid: int) -> int | None:
    """When the process started, in steps of 100 ns since 1601."""
    kernel = _kernel()
    handle = kernel.OpenProcess(_ASKING, False, pid)  # noqa: FBT003 - no child inherits the handle
    if not handle:
        error = ctypes.get_last_error()
        if error == _NO_SUCH_PROCESS:
            return None
        raise ctypes.WinError(error)
    try:
        if kernel.WaitForSingleObject(handle, 0) == _ENDED:
            return None
        created, *others = (wintypes.FILETIME() for _ in range(4))
        if not kernel.GetProcessTimes(handle, ctypes.byref(created), *map(ctypes.byref, others)):
            raise ctypes.WinError(ctypes.get_last_error())
        return (created.dwHighDateTime << 32) | created.dwLowDateTime
    finally:
        kernel.CloseHandle(handle)


@cache
def _kernel() -> ctypes.WinDLL:
    kernel = ctypes.WinDLL("kernel32", use_last_error=True)
    kernel.OpenProcess.argtypes = (wintypes.DWORD, wintypes.BOOL, wintypes.DWORD)
    kernel.OpenProcess.restype = wintypes.HANDLE
    kernel.WaitForSingleObject.argtypes = (wintypes.HANDLE, wintypes.DWORD)
    kernel.GetProcessTimes.argtypes = (wintypes.HANDLE, *[ctypes.POINTER(wintypes.FILETIME)] * 4)
    kernel.CloseHandle.argtypes = (wintypes.HANDLE,)
    return kernel
