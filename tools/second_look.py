"""Runs the tests that failed in the last run once more, one after another, with the machine to themselves.

    python -m tools.second_look

Some tests race real processes against real servers, and a loaded machine can break such a test without a fault in
the code. A test that passes here is named as *unsteady* and does not fail the run; it is to be mended all the same.
No second look is given where more than a few tests failed, or where the run did not reach its end: then something
is broken.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Final

from tools import tree

MOST: Final = 5
CACHE: Final = Path(".pytest_cache") / "v"
TESTS_FAILED: Final = 1


def last_run(root: Path) -> tuple[int, list[str]]:
    """How the last run of pytest ended (-1: no run has reached its end) and which tests failed in it."""
    try:
        ended = int(json.loads((root / CACHE / "romancy" / "exit").read_text("utf-8")))
        failed = sorted(json.loads((root / CACHE / "cache" / "lastfailed").read_text("utf-8")))
    except (FileNotFoundError, ValueError):
        return -1, []
    return ended, failed


def refusal(ended: int, failed: list[str]) -> str | None:
    """Why these tests get no second look; None: they get one."""
    if ended != TESTS_FAILED or not failed:
        return f"the run did not reach its end, or no test failed in it (exit code {ended})"
    if len(failed) > MOST:
        return f"{len(failed)} tests failed; a second look is given to {MOST} at most"
    return None


def main() -> int:
    ended, failed = last_run(tree.ROOT)
    reason = refusal(ended, failed)
    if reason is not None:
        print(f"second look: none, because {reason}")
        return 1
    print(f"second look: {len(failed)} failed, and run again alone:", *failed, sep="\n  ", flush=True)
    again = [sys.executable, "-m", "pytest", "-n", "0", "--last-failed", "--last-failed-no-failures", "none"]
    code = subprocess.run(again, cwd=tree.ROOT, check=False).returncode
    verdict = "FAILED AGAIN" if code else "UNSTEADY: failed beside others, passed alone; to be mended"
    print(f"second look: {verdict}:", *failed, sep="\n  ")
    return code


if __name__ == "__main__":
    sys.exit(main())
