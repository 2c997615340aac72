"""`make release-check` checks whether this tree may be released, and prints what prevents it.

It checks the version, the changelog and the recorded runs on other machines. It builds the sdist, builds the wheel from
the sdist, and tries the wheel in an empty environment: the command, the README's program with its crash, and every
extra. It looks for placeholders of public addresses, and for links that are dead on a package index. It uploads
nothing, and leaves the built files in `dist`. With `--trial` it leaves out what only a release needs: the recorded
runs.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
import tomllib
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Final

from packaging.version import InvalidVersion, Version

from tools import distribution, publication, readme_program
from tools.machines import interpreters, pythons, records, resolutions
from tools.machines.parts import PARTS
from tools.tree import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

EXTRAS: Final = {
    "postgresql": ("asyncpg", "romancy_postgres._store"),
    "mariadb": ("aiomysql", "pymysql", "romancy_mysql._store"),
    "all": ("asyncpg", "aiomysql"),
    "conformance": ("romancy_conformance.plugin", "romancy_conformance.contract", "hypothesis"),
}
"""The modules that each extra makes importable; `postgresql` and `mariadb` install `postgres` and `mysql`."""

_SECTION = re.compile(r"^## \[(?P<name>[^\]]+)\](?P<rest>.*)\n(?P<text>(?:(?!^## ).*\n?)*)", re.MULTILINE)


def problems_of(version: str, changelog: str) -> Iterator[str]:
    """Yield what is wrong with a version and the changelog, one sentence for each problem."""
    try:
        parsed = Version(version)
    except InvalidVersion:
        yield f"pyproject.toml: {version!r} is no version; write it as PEP 440 says, such as 1.2.0 or 1.2.0.dev0"
        return
    if str(parsed) != version:
        yield f"pyproject.toml: write the version {version} as {parsed}"
    sections = {found["name"]: found for found in _SECTION.finditer(changelog)}
    names = list(sections)
    if names[:1] != ["Unreleased"]:
        yield "CHANGELOG.md: its first section has to be [Unreleased]"
        return
    waiting = bool(re.search(r"^- ", sections["Unreleased"]["text"], re.MULTILINE))
    if parsed.is_devrelease:
        if not waiting:
            yield f"CHANGELOG.md: [Unreleased] is empty, and {version} is a version under development"
    elif names[1:2] != [version]:
        yield f"CHANGELOG.md: {version} is to be released and has no section; put `## [{version}] - DATE` there"
    elif waiting:
        yield f"CHANGELOG.md: [Unreleased] has entries; move them to [{version}], or choose a higher version"
    yield from _problems_of_sections(parsed, {name: sections[name] for name in names[1:]})


def _problems_of_sections(version: Version, sections: dict[str, re.Match[str]]) -> Iterator[str]:
    """Yield what is wrong with the sections of released versions."""
    last = version
    for name, section in sections.items():
        try:
            if Version(name) > last or (Version(name) == last and last is not version):
                yield f"CHANGELOG.md: [{name}] stands under {last}; the newest version comes first"
            last = Version(name)
        except InvalidVersion:
            yield f"CHANGELOG.md: [{name}] is no version"
        try:
            date.fromisoformat(section["rest"].removeprefix(" - "))
        except ValueError:
            yield f"CHANGELOG.md: [{name}] has no date; write `## [{name}] - YYYY-MM-DD`"


def unshown() -> Iterator[str]:
    """Yield what the recorded runs do not show, or do not show of this tree."""
    runs = records.read()
    yield from (f"docs/where-it-runs/runs.json: {problem}" for problem in records.problems(runs))
    shown = {run.python for run in runs if run.what == pythons.WHAT}
    for version in interpreters.VERSIONS:
        if not any(name.startswith(f"CPython {version}.") for name in shown):
            yield f"docs/where-it-runs/runs.json: no run on Python {version}; run `make test-pythons ARGS={version}`"
    floors = {run.what for run in runs}
    for part in PARTS:
        if (what := resolutions.what(part)) not in floors:
            yield f"docs/where-it-runs/runs.json: no run of {what}; run `make test-floors`"


def build(folder: Path, into: Path) -> Path:
    """Build the sdist, and the wheel from it: an sdist that lacks a file builds another wheel than the tree."""
    sdist = distribution.build_sdist(into)
    wheel = distribution.build_wheel(into, distribution.unpack(sdist, folder / "unpacked"))
    print(f"release: built {sdist.name} and, from it, {wheel.name}")
    return wheel


def try_wheel(wheel: Path, version: str, folder: Path) -> None:
    """Install the wheel in an empty environment and use it. Raises `RuntimeError` with what went wrong."""
    commands = distribution.empty_environment(folder / "environment")
    work = folder / "work"
    work.mkdir()
    distribution.install(commands, wheel)
    told = distribution.run(commands / "romancy", "--version", cwd=work).strip()
    if told != f"romancy {version}":
        raise RuntimeError(f"`romancy --version` says {told!r}, pyproject.toml says {version}")
    if "Durable workflows" not in distribution.run(commands / "romancy", "--help", cwd=work):
        raise RuntimeError("`romancy --help` does not say what it is about")
    print("release: the command runs in an empty environment")
    printed, seen = readme_program.play(commands / "python", work)
    if printed != seen:
        raise RuntimeError("the README's program printed this:\n" + "\n".join(seen))
    print("release: the README's program was killed, and went on")
    for extra, modules in EXTRAS.items():
        distribution.install(commands, f"romancy[{extra}] @ {wheel.as_uri()}")
        distribution.run(commands / "python", "-W", "error", "-c", f"import {', '.join(modules)}", cwd=work)
        print(f"release: romancy[{extra}] imports {', '.join(modules)}")


def main(arguments: Sequence[str]) -> int:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    version = str(settings["project"]["version"])
    problems = list(problems_of(version, (ROOT / "CHANGELOG.md").read_text("utf-8")))
    if "--trial" not in arguments:
        problems.extend(unshown())
    if problems:
        return _refused(problems)
    print(f"release: {version} and its changelog fit")
    problems = [*publication.placeholders(settings), *publication.strangers(settings)]
    shutil.rmtree(ROOT / "dist", ignore_errors=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            wheel = build(folder, ROOT / "dist")
            dead = publication.dead_links(publication.description_of(wheel))
            problems += [f"README.md: the link to {target!r} is dead on a package index" for target in dead]
            try_wheel(wheel, version, folder)
        except RuntimeError as error:
            problems.append(str(error))
    if problems:
        return _refused(problems)
    print("release: dist holds what may be uploaded")
    return 0


def _refused(problems: list[str]) -> int:
    print("\n".join(f"release: {problem}" for problem in problems), file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
