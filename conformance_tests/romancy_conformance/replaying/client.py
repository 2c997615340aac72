"""The client of the other process: starts it when needed, replaces it when it hangs, ends it with the run."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import msgspec

from romancy_conformance.replaying.jobs import Answer, Job

__all__ = ["Answer", "Replayer"]

_PATIENCE = 60.0
"""Seconds for one history; a body that blocks the thread on purpose takes for ever."""


class Replayer:
    """A process with another hash seed, used as long as it answers."""

    def __init__(self, patience: float = _PATIENCE) -> None:
        self._patience = patience
        self._process: subprocess.Popen[bytes] | None = None
        self._reader = ThreadPoolExecutor(1, "replayer")  # a thread can wait for a pipe on every system
        mine = os.environ.get("PYTHONHASHSEED", "random")
        self.seed = str(random.randrange(1, 2**32 - 1) if mine == "random" else int(mine) % (2**32 - 2) + 1)

    def ask(self, job: Job) -> Answer:
        """Have the other process replay one history."""
        for _ in range(2):
            process = self._process = self._process or self._started()
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                process.stdin.write(msgspec.json.encode(job) + b"\n")
                process.stdin.flush()
            except OSError:  # a broken pipe, which is EINVAL on Windows
                self.close()
                continue
            try:
                line = self._reader.submit(process.stdout.readline).result(self._patience)
            except TimeoutError:
                self.close()
                return Answer(unknown="its replay takes too long")
            if line:
                return msgspec.json.decode(line, type=Answer)
            self.close()
        return Answer(unknown="the other process has died")

    def close(self) -> None:
        """End the process; the next question starts another one."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    _close(pipe)

    def _started(self) -> subprocess.Popen[bytes]:
        paths = os.pathsep.join(filter(None, sys.path))
        return subprocess.Popen(
            [sys.executable, "-m", "romancy_conformance.replaying"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": paths, "PYTHONHASHSEED": self.seed},
        )


def _close(pipe: object) -> None:
    try:
        pipe.close()  # type: ignore[attr-defined]
    except OSError:
        return
