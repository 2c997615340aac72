"""The programs of this package as processes that a test starts, freezes, kills and reads."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from romancy_conformance.contract.fire.notes import read_notes
from romancy_conformance.process_control import OPTIONS, freeze, stop, thaw

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["Program", "until"]

_LOOK_AGAIN = 0.02
_PATIENCE = 90.0


async def until(holds: Callable[[], bool], timeout: float = _PATIENCE) -> bool:
    """Wait until the condition holds; return False if it does not within the time."""
    deadline = time.monotonic() + timeout
    while not holds():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(_LOOK_AGAIN)
    return True


class Program:
    """One process that runs `python -m romancy_conformance.contract.fire.<module> NOTES URL …`."""

    def __init__(self, folder: Path, name: str, module: str, url: str, *arguments: object) -> None:
        self.name = name
        self._notes = folder / f"{name}.notes"
        self._said = folder / f"{name}.said"
        command = [sys.executable, "-m", f"romancy_conformance.contract.fire.{module}", str(self._notes), url]
        with self._said.open("wb") as said:
            self._process = subprocess.Popen(
                [*command, *map(str, arguments)],
                stdout=said,
                stderr=said,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                **OPTIONS,
            )

    def notes(self, kind: str) -> list[tuple[str, ...]]:
        """Return its notes of this kind so far, without the kind."""
        return [fact[1:] for fact in read_notes(self._notes) if fact[0] == kind]

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    @property
    def said(self) -> str:
        """Return its output, which is empty unless something went wrong."""
        return self._said.read_text(encoding="utf-8", errors="replace")

    def freeze(self) -> None:
        freeze(self._process)

    def thaw(self) -> None:
        thaw(self._process)

    def kill(self) -> None:
        """Kill it, and wait until it is gone."""
        self._process.kill()
        self._process.wait()

    async def finish(self) -> None:
        """Ask it to stop, and check that it ends normally."""
        if self.is_running:
            await asyncio.to_thread(stop, self._process)
        await self.end()

    async def end(self) -> None:
        """Wait until it ends by itself, and check that it ends normally."""
        assert await until(lambda: not self.is_running), f"{self.name} does not end:\n{self.said}"
        assert (self._process.returncode, self.said) == (0, ""), f"{self.name} ended badly:\n{self.said}"
