"""A driver as the benchmark sees it: a process that gets tasks and answers them."""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["TREE", "DriverError", "Process"]

TREE = Path(__file__).parent.parent
PATIENCE = 60.0
"""Seconds for one task."""


class DriverError(Exception):
    """A task failed, or the process ended or took too long."""


class Process:
    """A driver that runs: `with Process(command, url, log) as driver: driver.do("sequential", steps=1000)`."""

    def __init__(
        self,
        command: Sequence[str | Path],
        url: str,
        log: Path,
        *,
        tree: Path = TREE,
        env: dict[str, str] | None = None,
    ) -> None:
        self._log = log.open("ab")
        self._log.write(f"== {Path(command[-1]).name}\n".encode())
        self._log.flush()
        self._process = subprocess.Popen(
            [*command, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, cwd=tree,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1", **(env or {})},
        )  # fmt: skip
        self._rest = b""
        try:
            self.said = self._line(PATIENCE)
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    def do(self, task: str, *, patience: float = PATIENCE, **parameters: object) -> dict[str, Any]:
        """Send a task, and return its answer."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"task": task, **parameters}).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise DriverError("the process has ended; its log says why") from None
        answer = self._line(patience)
        if "failed" in answer:
            raise DriverError(answer["failed"])
        return answer

    def _line(self, patience: float) -> dict[str, Any]:
        assert self._process.stdout is not None
        until = time.monotonic() + patience
        while b"\n" not in self._rest:
            ready, _, _ = select.select([self._process.stdout], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                raise DriverError(f"no answer within {patience:.0f} s")
            part = os.read(self._process.stdout.fileno(), 1 << 16)
            if not part:
                raise DriverError("the process has ended; its log says why")
            self._rest += part
        line, _, self._rest = self._rest.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def kill(self) -> None:
        """Kill it, as a power cut would."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """Let it end."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.close()
            self._process.wait(15)
        except (subprocess.TimeoutExpired, BrokenPipeError):
            self.kill()
        self._process.stdout.close()
        self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
