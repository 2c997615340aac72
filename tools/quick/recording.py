"""Records the map: runs the short tier on the memory store, in two processes, with every function marked.

    python -m tools.quick.recording [PATH …]

What fails here is not reported: only what a test enters is of interest. A process that a test starts is not marked.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Final

import pytest

from tools import tree
from tools.quick import mapping, marking

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

_PROCESSES: Final = 2
_REACHED_THE_END: Final = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)


class _Recorder:
    """A pytest plugin that notes what each test enters."""

    def __init__(self) -> None:
        self.runs: list[mapping.Run] = []

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        from tools.tiers import case_of  # noqa: PLC0415 - pytest rewrites the plugins of the tree, which come later

        marking.entered.clear()
        began = time.monotonic()
        try:
            return (yield)
        finally:
            seconds = time.monotonic() - began
            self.runs.append(mapping.Run(case_of(item).name, seconds, frozenset(marking.entered)))


def record(paths: Sequence[str] = ()) -> bool:
    """Make the map anew. False: it was interrupted, and there is none."""
    shutil.rmtree(mapping.FOLDER, ignore_errors=True)
    command = [sys.executable, "-m", "tools.quick.recording", "--part"]
    environment = {**os.environ, "ROMANCY_TEST_BACKENDS": "memory"}
    processes = [
        subprocess.Popen(
            [*command, f"{number}/{_PROCESSES}", *paths], cwd=tree.ROOT, env=environment, stdout=subprocess.DEVNULL
        )
        for number in range(1, _PROCESSES + 1)
    ]
    codes = [process.wait() for process in processes]
    if not any(codes):
        return True
    shutil.rmtree(mapping.FOLDER, ignore_errors=True)
    return False


def _record_part(part: str, paths: Sequence[str]) -> None:
    marking.install()
    recorder = _Recorder()
    options = ["-q", "-n0", "-p", "no:cacheprovider", "--tier", "short", "--part", part]
    ended = pytest.main([*options, *paths], plugins=[recorder])
    if ended not in _REACHED_THE_END:
        sys.exit(int(ended))
    mapping.write(mapping.FOLDER / f"{part.partition('/')[0]}.json", recorder.runs)
    os._exit(0)  # what runs while Python ends would enter functions, and the builtin that notes it is gone by then


if __name__ == "__main__":
    if sys.argv[1:2] == ["--part"]:
        _record_part(sys.argv[2], sys.argv[3:])
    else:
        sys.exit(not record(sys.argv[1:]))
