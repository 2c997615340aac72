"""A process that sees from outside which attempts begin and end: each has a connection while it is at work.

    python -m romancy_conformance.behaviour.faults.recorder FILE

It prints its port. An attempt says who it is, and is recorded before it hears so; then it says that it ends. The
connection of a process that dies is closed by the system, and that of a frozen one stays.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from romancy import activity_context

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

__all__ = ["Record", "Recorder", "recorded"]

MODULE: Final = "romancy_conformance.behaviour.faults.recorder"


class Record(Struct, frozen=True):
    """What the recorder saw of one attempt."""

    at: int
    """In microseconds since 1970, by the clock of this machine."""
    what: str
    """It has begun, or come to its end; or it is gone without one."""
    instance_id: str
    activity_id: str
    pid: int


class Recorder:
    """The process, and what it has recorded."""

    def __init__(self, file: Path, environment: dict[str, str]) -> None:
        self._file = file
        command = [sys.executable, "-m", MODULE, str(file)]
        pipe = subprocess.PIPE  # it ends when its input does, also if this process is killed
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def read(self) -> list[Record]:
        """All records, in their order."""
        lines = [line.split("\t") for line in self._file.read_text(encoding="utf-8").splitlines()]
        return [Record(int(at), what, instance, id, int(pid)) for at, what, instance, id, pid in lines]


@asynccontextmanager
async def recorded(port: int) -> AsyncGenerator[None]:
    """Record the running attempt from its beginning to its end."""
    context = activity_context()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"{context.instance_id}\t{context.activity_id}\t{os.getpid()}\n".encode())
        await _answer(reader)
        yield
        writer.write(b"end\n")
        await _answer(reader)
    finally:
        writer.close()


async def _answer(reader: asyncio.StreamReader) -> None:
    if not await reader.readline():
        raise ConnectionError("the recorder has gone")


async def main(file: Path) -> None:
    with file.open("a", encoding="utf-8") as records:

        def record(what: str, who: str) -> None:
            records.write(f"{time.time_ns() // 1000}\t{what}\t{who}\n")
            records.flush()

        async def attend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            who = ""
            with suppress(ConnectionError):
                who = (await reader.readline()).decode().strip()
                if who:
                    record("begin", who)
                    writer.write(b"ok\n")
                    if await reader.readline():
                        record("end", who)
                        who = ""
                        writer.write(b"ok\n")
                        await writer.drain()
            if who:
                record("gone", who)
            writer.close()

        server = await asyncio.start_server(attend, "127.0.0.1", 0)
        print(server.sockets[0].getsockname()[1], flush=True)
        async with server:
            await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
