"""Starts processes that try mutants, ends those that hang, and keeps what was recorded of the tests."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import json, structs

from tools import tree
from tools.mutations.playing import CONTRACT
from tools.mutations.systematic.jobs import BEGINS, Job, Line, Recorded, Trial, source_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = ["FOLDER", "probe", "recorded"]

FOLDER: Final = tree.ROOT / "build" / "mutations"
_SOURCES: Final = ("romancy/storage", "backends", "conformance_tests/romancy_conformance")
_OTHERS: Final = (
    "conformance_tests/romancy_conformance/behaviour/operating/test_rebuilding.py",
    *(f"tests/backends/mysql/test_{subject}.py" for subject in ("conditions", "effects", "pages", "row_locks")),
    "tests/backends/postgres/test_order_of_keys.py",
    "tests/backends/postgres/test_held_by_others.py",
    "tests/backends/postgres/test_scripts_of_claims.py",
    "tests/backends/postgres/test_scripts_of_commits.py",
    "tests/backends/postgres/test_scripts_of_outbox.py",
    "tests/backends/postgres/test_scripts_of_routing.py",
    "tests/backends/postgres/test_scripts_of_upkeep.py",
)
"""Tests that use statements which the contract does not, or read what no other database shows."""
_TO_BEGIN: Final = 300.0
"""Seconds in which a process has to begin with a test."""
_PAUSE: Final = 0.5
_SHOWN: Final = 30
"""How many lines of a process that fails are shown."""
_RESTARTS: Final = 3
"""How often in a row a process may end without having tried a mutant."""


def recorded(dialect: str, tests: Sequence[str] = ()) -> list[Recorded]:
    """What each test of the contract uses.

    What a former run has recorded stays valid until Python of the adapters or of the suite changes, and for the tests
    of a file until that file does. SQL may change: a test sends the statements of the same names.
    """
    kept = FOLDER / f"{dialect}-{_digest(tests)}.jsonl"
    FOLDER.mkdir(parents=True, exist_ok=True)
    kept.touch()
    process = _process(dialect, Job(str(kept), recorded=_kept(kept)), tests)
    if process.wait():
        raise RuntimeError(f"the tests could not be recorded on {dialect}:\n{_said(kept)}")
    latest = {one.test: one for one in _kept(kept)}
    return [one for one in latest.values() if one.source == source_of(tree.ROOT / one.test.partition("::")[0])]


def _kept(path: Path) -> list[Recorded]:
    """The whole lines of a file: a process that was ended may have left half of one, which is cut off."""
    whole = path.read_bytes().rpartition(b"\n")
    path.write_bytes(b"".join(whole[:2]))
    return [json.decode(line, type=Recorded) for line in whole[0].splitlines()]


def probe(
    dialect: str,
    shares: Iterable[list[Trial]],
    asked: Job,
    tell: Callable[[Line], None],
    tests: Sequence[str] = (),
) -> None:
    """Try mutants of one dialect, each share in a process of its own, and tell what became of each when it is known.

    The bounds and the record are those of the job that is `asked`.
    """
    found = [
        _Share(dialect, structs.replace(asked, answers=f"{asked.answers}-{number}.jsonl", trials=share), tests, tell)
        for number, share in enumerate(shares)
        if share
    ]
    with ThreadPoolExecutor(len(found)) as threads:
        for _ in threads.map(_Share.try_all, found):
            pass


class _Share:
    """The mutants of one process after another, until all are tried."""

    def __init__(self, dialect: str, job: Job, tests: Sequence[str], tell: Callable[[Line], None]) -> None:
        self._dialect = dialect
        self._answers = Path(job.answers)
        self._answers.parent.mkdir(parents=True, exist_ok=True)
        self._answers.write_bytes(b"")
        self._job = job
        self._tests = tests
        self._tell = tell
        self._told: set[str] = set()

    def try_all(self) -> None:
        in_vain = 0
        while (done := len(self._told)) < len(self._job.trials) and not self._late():
            process = _process(self._dialect, self._job, self._tests)
            self._watch(process)
            in_vain = in_vain + 1 if len(self._told) == done else 0
            if in_vain == _RESTARTS:
                raise RuntimeError(f"{self._dialect}: pytest ends and tries no mutant:\n{_said(self._answers)}")
        for path in self._answers.parent.glob(f"{self._answers.name}*"):
            path.unlink()
        for trial in self._job.trials:
            if trial.key not in self._told:
                self._tell(Line(trial.key, "left", trial.statement))

    def _late(self) -> bool:
        return self._job.until is not None and time.time() > self._job.until

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        """Wait until the process ends. A mutant with which a test does not end is noticed, and the process is ended."""
        begun, at = Line("", "started", limit=_TO_BEGIN), time.monotonic()
        while process.poll() is None:
            time.sleep(_PAUSE)
            lines = self._lines()
            last = lines[-1] if lines else begun
            if last != begun and last.outcome == BEGINS:
                begun, at = last, time.monotonic()
            elif last.outcome != BEGINS:
                at = time.monotonic()
            if time.monotonic() - at > begun.limit:
                process.kill()
                process.wait()
                if begun.key:
                    words = f"did not end in {begun.limit:.0f} s"
                    self._say(structs.replace(begun, outcome="killed", why=words, seconds=begun.limit, limit=0))
        self._lines()

    def _lines(self) -> list[Line]:
        """The lines so far; what is known by them is told."""
        whole = self._answers.read_bytes().rpartition(b"\n")[0]
        lines = [json.decode(line, type=Line) for line in whole.splitlines()]
        for line in lines:
            if line.outcome != BEGINS and line.key not in self._told:
                self._told.add(line.key)
                self._tell(line)
        return lines

    def _say(self, line: Line) -> None:
        lines = [*self._lines(), line]  # what it wrote last may be half a line
        self._answers.write_bytes(b"".join(json.encode(each) + b"\n" for each in lines))


def _process(dialect: str, job: Job, tests: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start pytest on the contract of a database, with a job."""
    path = Path(f"{job.answers}.job")
    path.write_bytes(json.encode(job))
    named = [str(test) for test in tests] or [CONTRACT, *_OTHERS, f"--ignore={CONTRACT}/fire"]
    options = ["-q", "-p", "no:cacheprovider", "-p", "tools.mutations.systematic.prober"]
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTEST_ADDOPTS", "ROMANCY_SOAK")}
    with Path(f"{job.answers}.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "pytest", *options, f"--probe={path}", *named],
            cwd=tree.ROOT,
            env=environment | {"ROMANCY_TEST_BACKENDS": dialect},
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def _said(answers: Path) -> str:
    """What pytest said last."""
    return "\n".join(Path(f"{answers}.log").read_text(encoding="utf-8", errors="replace").splitlines()[-_SHOWN:])


def _digest(tests: Sequence[str]) -> str:
    """Changes with the Python that the tests run, but for the files of tests themselves."""
    digest = hashlib.sha256(repr(tuple(tests)).encode())
    for folder in _SOURCES:
        for path in sorted((tree.ROOT / folder).rglob("*.py")):
            if not path.name.startswith("test_"):
                digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
