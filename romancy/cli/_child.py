"""A process of a command's own: what it inherits, and how it learns that it has to stop.

It holds one end of a pipe as its standard input. When the pipe closes, because the parent wants it or because the
parent has ended in any way, the child stops. So no child is left behind.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["inherited", "start_child", "stop_with_parent"]


if sys.platform == "win32":

    def start_child(
        command: Sequence[str], environment: Mapping[str, str], listener: socket.socket | None
    ) -> subprocess.Popen[bytes]:
        """Start a child, which gets this socket through its standard input.

        It is in a process group of its own: a Ctrl-C in the console is for this process, which tells the child once.
        """
        child = subprocess.Popen(  # noqa: S603 - itself
            command, stdin=subprocess.PIPE, env=environment, creationflags=subprocess.CREATE_NEW_PROCESS_GROUP
        )
        if listener is not None and child.stdin is not None:
            shared = listener.share(child.pid)
            with suppress(OSError):  # the child ended at once
                child.stdin.write(len(shared).to_bytes(4, "big") + shared)
                child.stdin.flush()
        return child

    def inherited(listener: int) -> socket.socket:  # noqa: ARG001 - the number of the parent, which means nothing here
        """In the child: the socket that it got. Call it before `stop_with_parent`."""
        return socket.fromshare(_read(int.from_bytes(_read(4), "big")))

    def _read(size: int) -> bytes:
        read = b""
        while len(read) < size:
            part = os.read(0, size - len(read))
            if not part:
                raise SystemExit(1)  # the parent has ended
            read += part
        return read

    def _stop() -> None:
        signal.raise_signal(signal.SIGTERM)  # `os.kill` would end the process at once

    def _leave_to_parent() -> None:
        """Ignore Ctrl-Break, which reaches every process of the console: the parent tells this one."""
        signal.signal(signal.SIGBREAK, signal.SIG_IGN)

else:

    def start_child(
        command: Sequence[str], environment: Mapping[str, str], listener: socket.socket | None
    ) -> subprocess.Popen[bytes]:
        """Start a child, which inherits this socket under its number.

        It is in a session of its own: a Ctrl-C in the terminal is for this process, which tells the child once.
        """
        files = [] if listener is None else [listener.fileno()]
        return subprocess.Popen(  # noqa: S603 - itself
            command, stdin=subprocess.PIPE, env=environment, start_new_session=True, pass_fds=files
        )

    def inherited(listener: int) -> socket.socket:
        """In the child: the socket that it got. Call it before `stop_with_parent`."""
        return socket.socket(fileno=listener)

    def _stop() -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    def _leave_to_parent() -> None:
        """Do nothing: the child is in a session of its own."""


def stop_with_parent() -> None:
    """In the child: stop as by SIGTERM once the standard input is closed."""
    _leave_to_parent()

    def wait() -> None:
        while os.read(0, 1024):
            pass
        _stop()

    threading.Thread(target=wait, name="romancy-reload", daemon=True).start()
