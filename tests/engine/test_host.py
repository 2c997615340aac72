"""What the system tells about processes: who lives, who is gone, and who cannot be known."""

from __future__ import annotations

import ctypes
import os
import struct
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from romancy.engine import host
from romancy.engine.host import certainly_gone, same_machine, started, this_host
from romancy.engine.systems import macos
from romancy.storage.records import Host

if TYPE_CHECKING:
    from collections.abc import Generator

BOOT = "0D3C9F0A-8E5B-4B52-9C8C-3D1E9E0A7B11"


@contextmanager
def child() -> Generator[subprocess.Popen[bytes]]:
    """A process that waits for its end, while the block lasts."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def test_this_process_is_described_and_alive() -> None:
    here = this_host()

    assert (os.getpid(), started(os.getpid())) == (here.pid, here.pid_start)
    assert here.boot_id
    assert this_host() == here
    assert not certainly_gone(here, here)


def test_a_process_that_ended_is_certainly_gone() -> None:
    here = this_host()
    with child() as process:
        since = started(process.pid)
        assert since is not None
        other = replace(here, pid=process.pid, pid_start=since)
        assert not certainly_gone(other, here)
        process.kill()
        process.wait()
        assert started(process.pid) is None
        assert certainly_gone(other, here)


def test_another_process_with_its_pid_does_not_count() -> None:
    here = this_host()

    assert certainly_gone(replace(here, pid_start=here.pid_start + 1), here)


@pytest.mark.parametrize("elsewhere", [{"boot_id": "another"}, {"pid_namespace": "another"}], ids="".join)
def test_of_another_machine_nothing_is_certain(elsewhere: dict[str, str]) -> None:
    here = this_host()
    other = replace(here, pid_start=here.pid_start + 1, **elsewhere)

    assert not same_machine(other, here)
    assert not certainly_gone(other, here)


def test_a_system_that_tells_nothing_leaves_it_to_the_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(*_: object) -> None:
        raise OSError("no")

    here = this_host()
    monkeypatch.setattr(host, "started", silent)

    assert not certainly_gone(here, here)
    monkeypatch.setattr(host, "machine", silent)
    assert this_host() == Host()
    assert not certainly_gone(Host(), Host())


class Kernel:
    """The calls of macOS, with two processes: 7 runs since 1 s and 2 µs, and of 8 only its exit status is left."""

    def sysctlbyname(self, name: bytes, answer: ctypes.Array[ctypes.c_char], *_: object) -> int:
        assert name == b"kern.bootsessionuuid"
        answer.value = BOOT.encode()
        return 0

    def sysctl(self, name: ctypes.Array[ctypes.c_int], count: ctypes.c_uint, answer: object, *more: object) -> int:
        assert (4, [1, 14, 1]) == (count.value, list(name[:3]))
        if name[3] == 9:
            ctypes.set_errno(1)
            return -1
        known = {7: 2, 8: 5}.get(name[3])
        shown = b"" if known is None else struct.pack("@qiPPib", 1, 2, 3, 4, 5, known).ljust(648, b"\0")
        ctypes.memmove(answer, shown, len(shown))  # type: ignore[arg-type] # an array
        size = more[0]._obj  # type: ignore[attr-defined] # what `byref` refers to
        size.value = len(shown)
        return 0


def test_what_macos_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(macos, "_libc", Kernel)

    assert macos.machine() == (BOOT, "macOS")
    assert [macos.started(pid) for pid in (7, 8, 6)] == [1_000_002, None, None]
    with pytest.raises(OSError, match="sysctl"):
        macos.started(9)
