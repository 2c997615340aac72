"""The command: plant faults, and count the slices in which the simulation finds each."""

from __future__ import annotations

import argparse
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import NamedTuple

from tools import tree
from tools.mutations import sqlite
from tools.mutations.playing import mutated
from tools.planting import PLANTED, Planted

_COPIED = ("romancy", "backends", "conformance_tests")
_FINDING = re.compile(r"^  [A-Z]+ .*$", re.MULTILINE)
_SUM = re.compile(r"^(\d+) slices.* ([\d.]+) h in", re.MULTILINE)


class Job(NamedTuple):
    """A fault with the changed files."""

    name: str
    changed: dict[str, str]
    unseen: str = ""
    case: str = ""
    shapes: str = ""


class Look(NamedTuple):
    """What the slices of one seed have shown."""

    finding: str
    """The first; nothing: the fault was missed."""
    slices: int
    hours: float
    """Of virtual time."""
    seconds: float
    """Of CPU time."""


def job_of(planted: Planted) -> Job:
    """Return the fault with its changed file; `LookupError` if its text is not there once."""
    source = (tree.ROOT / planted.file).read_text(encoding="utf-8")
    if source.count(planted.text) != 1:
        raise LookupError(f"{planted.name}: its text occurs {source.count(planted.text)} times in {planted.file}")
    changed = {planted.file: source.replace(planted.text, planted.replacement)}
    return Job(planted.name, changed, planted.unseen, planted.case, planted.shapes)


def jobs() -> list[Job]:
    """Return all faults: those of the engine, and the fences of SQLite."""
    fences = [Job(each.name, mutated(each)) for each in sqlite.MUTATIONS]
    return [job_of(each) for each in PLANTED] + fences


def planted_tree(job: Job, folder: Path) -> dict[str, str]:
    """Copy the tree with this fault, and return the environment of an interpreter that imports it."""
    for part in _COPIED:
        shutil.copytree(tree.ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    for file, source in job.changed.items():
        (folder / file).write_text(source, encoding="utf-8")
    paths = [str(folder), str(folder / "backends"), str(folder / "conformance_tests")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONSAFEPATH": "1", "PYTHONHASHSEED": "0"}


def look_for(job: Job, seed: str, most: int, cores: int) -> Look:
    """Play slices of this seed until one has a finding, at most so many."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = [
            sys.executable, "-m", "romancy_conformance.simulation", "--seed", seed, "--slices", str(most),
            "--until-found", "--no-shrink", "--cores", str(cores),
            *(["--shapes", job.shapes] if job.shapes else []),
        ]  # fmt: skip
        environment = planted_tree(job, folder)
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    said = _SUM.search(done.stdout)
    if said is None:
        raise SystemExit(f"{job.name}: the simulation did not run\n{done.stderr[-2000:]}")
    found = _FINDING.search(done.stdout)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Look("" if found is None else found[0].strip(), int(said[1]), float(said[2]), seconds)


def told(job: Job, looks: list[Look]) -> str:
    """Return the line about this fault."""
    missed = sum(not look.finding for look in looks)
    said = "found " if not missed else "unseen" if job.unseen else "MISSED"
    of = f" ({missed} of {len(looks)} seeds missed it)" if missed and len(looks) > 1 else ""
    finding = next((look.finding for look in looks if look.finding), job.unseen)
    played = f"times the case {job.case}" if job.case else "slices"
    played += f" of {job.shapes}" if job.shapes else ""
    return (
        f"{said} {job.name}: {median(look.slices for look in looks):g} {played}, "
        f"{median(look.hours for look in looks):.1f} h, {median(look.seconds for look in looks):.0f} s of CPU{of}; "
        f"{finding[:120]}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="tools.planting", description=__doc__)
    parser.add_argument("--slices", type=int, default=180, help="at most, of each seed: 20 minutes of a core")
    parser.add_argument("--seeds", default="planted", help="words, separated by commas; the medians are printed")
    parser.add_argument("--cores", type=int, default=os.cpu_count() or 1)
    parser.add_argument("words", nargs="*", help="a part of a name")
    options = parser.parse_args()
    missed = 0
    for job in jobs():
        if options.words and not any(word in job.name for word in options.words):
            continue
        seeds = [job.case] if job.case else options.seeds.split(",")
        looks = [look_for(job, seed, options.slices, options.cores) for seed in seeds]
        missed += not job.unseen and not all(look.finding for look in looks)
        print(told(job, looks), flush=True)
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()
