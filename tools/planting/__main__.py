"""The command: plant faults, and count the slices in which the simulation finds each."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from tools import tree
from tools.mutations import sqlite
from tools.mutations.playing import mutated
from tools.planting import PLANTED, Planted

_COPIED = ("romancy", "backends", "conformance_tests")
_FINDING = re.compile(r"^  [A-Z]+ .*$", re.MULTILINE)
_SLICES = re.compile(r"^(\d+) slices", re.MULTILINE)


class Job(NamedTuple):
    """A fault with the changed files."""

    name: str
    changed: dict[str, str]
    unseen: str


def job_of(planted: Planted) -> Job:
    """Return the fault with its changed file; `LookupError` if its text is not there once."""
    source = (tree.ROOT / planted.file).read_text(encoding="utf-8")
    if source.count(planted.text) != 1:
        raise LookupError(f"{planted.name}: its text occurs {source.count(planted.text)} times in {planted.file}")
    return Job(planted.name, {planted.file: source.replace(planted.text, planted.replacement)}, planted.unseen)


def jobs() -> list[Job]:
    """Return all faults: those of the engine, and the fences of SQLite."""
    fences = [Job(each.name, mutated(each), "") for each in sqlite.MUTATIONS]
    return [job_of(each) for each in PLANTED] + fences


def look_for(job: Job, minutes: float, cores: int) -> tuple[str, int, float]:
    """Return what was found first (nothing: it was missed), and in how many slices and seconds."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in _COPIED:
            shutil.copytree(tree.ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        for file, source in job.changed.items():
            (folder / file).write_text(source, encoding="utf-8")
        paths = [str(folder), str(folder / "backends"), str(folder / "conformance_tests")]
        environment = {
            **os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONSAFEPATH": "1", "PYTHONHASHSEED": "0",
        }  # fmt: skip
        command = [
            sys.executable, "-m", "romancy_conformance.simulation", "--seed", "planted", "--minutes", str(minutes),
            "--until-found", "--no-shrink", "--cores", str(cores),
        ]  # fmt: skip
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    slices = _SLICES.search(done.stdout)
    if slices is None:
        raise SystemExit(f"{job.name}: the simulation did not run\n{done.stderr[-2000:]}")
    found = _FINDING.search(done.stdout)
    return "" if found is None else found[0].strip(), int(slices[1]), time.monotonic() - began


def main() -> None:
    parser = argparse.ArgumentParser(prog="tools.planting", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0, help="for each fault")
    parser.add_argument("--cores", type=int, default=os.cpu_count() or 1)
    parser.add_argument("words", nargs="*", help="a part of a name")
    options = parser.parse_args()
    missed = 0
    for job in jobs():
        if options.words and not any(word in job.name for word in options.words):
            continue
        finding, slices, seconds = look_for(job, options.minutes, options.cores)
        missed += not finding and not job.unseen
        said = "found " if finding else "unseen" if job.unseen else "MISSED"
        print(f"{said} {job.name}: {slices} slices, {seconds:.0f} s; {finding[:120] or job.unseen}", flush=True)
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()
