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

from msgspec import json
from msgspec.structs import replace

from tools import tree
from tools.mutations.playing import CONTRACT
from tools.mutations.systematic.prober import BEGINS, Job, Line, Recorded, Trial

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tools.mutations.systematic.statements import Listed

__all__ = ["probe", "recorded"]

_FOLDER: Final = tree.ROOT / "build" / "mutations"
_SOURCES: Final = ("romancy/storage", "backends", "conformance_tests/romancy_conformance")
_OTHERS: Final = ("conformance_tests/romancy_conformance/behaviour/test_rebuilding.py",)
"""Tests of behaviour that use statements which the contract does not."""
_TO_BEGIN: Final = 120.0
"""Seconds in which a process has to begin with a test."""
_PAUSE: Final = 0.2
_SHOWN: Final = 30
"""How many lines of a process that fails are shown."""
_RESTARTS: Final = 3
"""How often in a row a process may end without having tried a mutant."""


def recorded(dialect: str, tests: Sequence[str] = ()) -> list[Recorded]:
    """What each test of the contract uses, from a former run on the same tree, if there was one."""
    name = f"{dialect}-{_digest(tests)}.jsonl"
    kept, fresh = _FOLDER / name, _FOLDER / f"{name}.{os.getpid()}"
    if not kept.exists():
        _FOLDER.mkdir(parents=True, exist_ok=True)
        fresh.unlink(missing_ok=True)
        process = _process(dialect, Job(str(fresh)), tests)
        if process.wait():
            raise RuntimeError(f"the tests could not be recorded on {dialect}:\n{_said(fresh)}")
        fresh.replace(kept)
    return [json.decode(line, type=Recorded) for line in kept.read_bytes().splitlines()]


def probe(
    mutants: Iterable[Listed], record: list[Recorded], jobs: int, tests: Sequence[str] = (), until: float | None = None
) -> list[Line]:
    """Try mutants of one dialect in so many processes, in their order. Return what became of each.

    After the time `until`, in seconds since 1970, no further test begins.
    """
    mutants = list(mutants)
    shares = [mutants[number::jobs] for number in range(jobs)]
    with ThreadPoolExecutor(jobs) as threads:
        trying = [_Share(number, share, record, tests, until) for number, share in enumerate(shares) if share]
        found = threads.map(_Share.tried, trying)
        return [line for lines in found for line in lines]


class _Share:
    """The mutants of one process after another, until all are tried."""

    def __init__(
        self,
        number: int,
        mutants: list[Listed],
        record: list[Recorded],
        tests: Sequence[str],
        until: float | None,
    ) -> None:
        self._dialect = mutants[0].dialect
        self._answers = _FOLDER / f"answers-{os.getpid()}-{self._dialect}-{number}.jsonl"
        self._answers.unlink(missing_ok=True)
        self._answers.parent.mkdir(parents=True, exist_ok=True)
        self._answers.touch()
        trials = [Trial(one.key, one.statement, one.kind, one.text) for one in mutants]
        self._job = Job(str(self._answers), trials, record, until)
        self._tests = tests

    def tried(self) -> list[Line]:
        """Return a line for each mutant."""
        in_vain = 0
        while len(done := self._done()) < len(self._job.trials) and not self._late():
            process = _process(self._dialect, self._job, self._tests)
            self._watch(process)
            in_vain = in_vain + 1 if len(self._done()) == len(done) else 0
            if in_vain == _RESTARTS:
                raise RuntimeError(f"{self._dialect}: pytest ends and tries no mutant:\n{_said(self._answers)}")
        for path in self._answers.parent.glob(f"{self._answers.name}*"):
            path.unlink()
        left = [Line(trial.key, "left", trial.statement) for trial in self._job.trials if trial.key not in done]
        return [*done.values(), *left]

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
                    self._say(replace(begun, outcome="killed", why=words, seconds=begun.limit, limit=0))

    def _lines(self) -> list[Line]:
        whole = self._answers.read_bytes().rpartition(b"\n")[0]
        return [json.decode(line, type=Line) for line in whole.splitlines()]

    def _done(self) -> dict[str, Line]:
        return {line.key: line for line in self._lines() if line.outcome != BEGINS}

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
    """Changes with what the tests run."""
    digest = hashlib.sha256(repr(tuple(tests)).encode())
    for folder in _SOURCES:
        for path in sorted((tree.ROOT / folder).rglob("*")):
            if path.suffix in (".py", ".sql"):
                digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
