"""The records of runs on other machines, from which the page "Where it runs" is made.

A record says what ran on which system, with which Python and databases, at which commit, and how many tests passed. The
runs write it; nobody edits it by hand.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from tools.tree import ROOT

if TYPE_CHECKING:
    from pathlib import Path

RECORDS: Final = ROOT / "docs" / "where-it-runs" / "runs.json"


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
    date: str


def record(system: str, python: str, databases: str, what: str, *, passed: int, failed: int, skipped: int) -> None:
    """Write the outcome of a run that ended now; it replaces the former run of the same things."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short=8", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()
    date = datetime.now(UTC).date().isoformat()
    run = Run(system, python, databases, what, passed, failed, skipped, commit, date)
    kept = [known for known in read() if _subject(known) != _subject(run)]
    RECORDS.parent.mkdir(exist_ok=True)
    lines = ",\n  ".join(json.dumps(asdict(one), ensure_ascii=False) for one in sorted([*kept, run]))
    RECORDS.write_text(f"[\n  {lines}\n]\n", "utf-8")


def read(path: Path = RECORDS) -> list[Run]:
    """Return the recorded runs, sorted."""
    return sorted(Run(**one) for one in json.loads(path.read_text("utf-8"))) if path.exists() else []


def _subject(run: Run) -> tuple[str, str, str, str]:
    return run.system, run.python, run.databases, run.what
