"""The records of runs on other machines, from which the page "Where it runs" is made.

    python -m tools.machines.records  # writes the page again

A record says what ran on which system, with which Python and databases, at which commit, and how many tests passed. The
runs write it; nobody edits it by hand. A release needs records of the code that it releases (`problems`).
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from tools.machines import page
from tools.tree import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

RECORDS: Final = ROOT / "docs" / "where-it-runs" / "runs.json"
PRODUCT: Final = ("romancy", "backends", "conformance_tests", "pyproject.toml")
"""What a record is about: it stays valid as long as nothing of this changes."""


@dataclass(frozen=True, order=True)
class Run:
    """One run on one machine."""

    system: str
    """Such as `Debian 12, as root`."""
    python: str
    """Such as `CPython 3.11.2`."""
    databases: str
    """Such as `SQLite, PostgreSQL`."""
    what: str
    """What ran, such as `make demo, make test`."""
    passed: int
    failed: int
    skipped: int
    commit: str
    """The commit that HEAD was; with `+` behind it if the product had changes that were not committed."""
    date: str
    required: bool = True
    """Whether a release needs this run to be green."""


def record(
    system: str,
    python: str,
    databases: str,
    what: str,
    *,
    passed: int,
    failed: int,
    skipped: int,
    required: bool = True,
) -> None:
    """Write the outcome of a run that ended now, and the page; it replaces the former run of the same things."""
    commit = _git("rev-parse", "--short=8", "HEAD").stdout.strip()
    changed = "+" if _git("status", "--porcelain", "--", *PRODUCT).stdout else ""
    date = datetime.now(UTC).date().isoformat()
    run = Run(system, python, databases, what, passed, failed, skipped, commit + changed, date, required)
    kept = [known for known in read() if _subject(known) != _subject(run)]
    RECORDS.parent.mkdir(exist_ok=True)
    lines = ",\n  ".join(json.dumps(asdict(one), ensure_ascii=False) for one in sorted([*kept, run]))
    RECORDS.write_text(f"[\n  {lines}\n]\n", "utf-8")
    page.write(read())


def read() -> list[Run]:
    """Return the recorded runs, sorted."""
    return sorted(Run(**one) for one in json.loads(RECORDS.read_text("utf-8"))) if RECORDS.exists() else []


def problems(runs: Sequence[Run]) -> Iterator[str]:
    """Yield what a release lacks: runs that failed, and runs of another product than that of HEAD."""
    for run in runs:
        name = f"{run.system}, {run.python}, {run.databases}: {run.what}"
        if not run.required:
            continue
        if run.failed or not run.passed:
            yield f"{name}: {run.passed} tests passed and {run.failed} failed; repair them, and run it again"
        elif run.commit.endswith("+"):
            yield f"{name}: ran with changes that were not committed; run it again"
        elif _git("diff", "--quiet", run.commit, "HEAD", "--", *PRODUCT).returncode:
            yield f"{name}: ran at {run.commit}, and the code has changed since; run it again"


def _git(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


def _subject(run: Run) -> tuple[str, str, str, str]:
    return run.system, run.python, run.databases, run.what


def main() -> int:
    page.write(read())
    return 0


if __name__ == "__main__":
    sys.exit(main())
