"""Runs the tests that failed in the last run of each tier once more, one after another, alone on the machine.

    python -m tools.second_look

Some tests run real processes against real servers, and a loaded machine can break such a test without a fault in the
code. A test that passes here is reported as *unsteady* and does not fail the run; it must be repaired nevertheless. If
more than a few tests failed in all, or if a run did not reach its end, no test is run again: then something is broken.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Final

from tools import tree

SHORT: Final = "short"
LONG: Final = "long"
ALL: Final = "all"
SIBLINGS: Final = "siblings"
ENGINES: Final = "engines"
TIERS: Final = (SHORT, LONG, SIBLINGS, ENGINES, ALL)
MOST: Final = 10
NOTES: Final = Path(".pytest_cache") / "v" / "romancy"
"""A note for each run: how it ended, and which tests failed in it. `tools.tiers` writes them."""
CUT_SHORT: Final = -1
PASSED: Final = 0
TESTS_FAILED: Final = 1
UNSTEADY: Final = "UNSTEADY, to be mended"


def last_runs(root: Path) -> tuple[list[int], list[str]]:
    """Return how the last run of each tier ended, and which tests failed in it."""
    ended: list[int] = []
    failed: set[str] = set()
    for tier in TIERS:
        file = root / NOTES / tier
        if not file.exists():
            continue
        try:
            note = json.loads(file.read_text("utf-8"))
        except ValueError:
            ended.append(CUT_SHORT)
            continue
        if note is not None:  # otherwise a later run has started
            ended.append(int(note["ended"]))
            failed.update(note["failed"])
    return ended, sorted(failed)


def refusal(ended: list[int], failed: list[str]) -> str | None:
    """Return why these tests are not run again, or None if they are."""
    if len(failed) > MOST:
        return f"{len(failed)} tests failed; a second look is given to {MOST} at most"
    if not failed or set(ended) - {PASSED, TESTS_FAILED}:
        codes = ", ".join(map(str, ended)) or "there was none"
        return f"a run did not reach its end, or no test failed (exit codes: {codes})"
    return None


def verdicts(failed: list[str], again: list[str]) -> list[str]:
    """Return the lines that say which of these tests failed again, and which passed."""
    lines: list[str] = []
    unsteady = sorted(set(failed) - set(again))
    for verdict, tests in (("FAILED AGAIN", again), (f"{UNSTEADY}: failed beside others, passed alone", unsteady)):
        lines += [f"second look: {verdict}:", *(f"  {test}" for test in tests)] if tests else []
    return lines


def main() -> int:
    ended, failed = last_runs(tree.ROOT)
    reason = refusal(ended, failed)
    if reason is not None:
        print(f"second look: none, because {reason}")
        return 1
    print(f"second look: {len(failed)} failed, and run again alone:", *failed, sep="\n  ", flush=True)
    again = [sys.executable, "-m", "pytest", "-n", "0", *failed]
    code = subprocess.run(again, cwd=tree.ROOT, check=False).returncode
    print(*verdicts(failed, last_runs(tree.ROOT)[1] if code == TESTS_FAILED else failed if code else []), sep="\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
