"""A Python that has imported Romancy and forks once for each program of a test.

It reads paths, one on each line. The fork runs the file as `__main__` in the file's folder, without input, and writes
its output beside the file. The answer is the exit status.
"""

from __future__ import annotations

import os
import runpy
import sys
import traceback
from pathlib import Path

import romancy
import romancy_sqlite

__all__ = ["romancy", "romancy_sqlite"]


def run(path: Path) -> int:
    """Become the program; return its exit status."""
    os.chdir(path.parent)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    out = os.open(path.with_suffix(".out"), os.O_WRONLY | os.O_CREAT)
    os.dup2(out, 1)
    os.dup2(out, 2)
    sys.argv = [path.name]
    sys.path[0] = str(path.parent)
    try:
        runpy.run_path(path.name, run_name="__main__")
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:  # noqa: BLE001 - an interpreter ends with any error so
        traceback.print_exc()
        return 1
    return 0


def main() -> None:
    for line in sys.stdin:
        child = os.fork()
        if not child:
            status = run(Path(line.rstrip("\n")))
            try:
                sys.stdout.flush()
                sys.stderr.flush()
            finally:
                os._exit(status)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
