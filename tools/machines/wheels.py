"""`make test-wheels` asks for which systems and Pythons the pinned dependencies of `romancy[all]` have wheels.

It installs nothing and runs nothing: pip chooses the files, as if it were on the other system. The answer goes into the
page "Where it runs". A package without a wheel there is built from source by whoever installs it.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from typing import Any, Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools.distribution import locked_versions
from tools.machines.interpreters import VERSIONS
from tools.tree import ROOT

ANSWERS: Final = ROOT / "docs" / "where-it-runs" / "wheels.json"
PYTHONS: Final = (*VERSIONS, "3.14t", "3.15t")


@dataclass(frozen=True)
class System:
    """A system that wheels are made for."""

    name: str
    tags: tuple[str, ...]
    """Its platform tags, of which a wheel has one."""
    markers: dict[str, str]
    """What the markers of requirements see there."""


def _linux(machine: str, libc: str) -> System:
    tags = {
        "glibc": ("manylinux_2_28", "manylinux_2_17", "manylinux2014"),
        "musl": ("musllinux_1_2", "musllinux_1_1"),
    }[libc]
    markers = {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix", "platform_machine": machine}
    return System(f"Linux, {libc}, {machine}", tuple(f"{tag}_{machine}" for tag in tags), markers)


def _windows(tag: str, machine: str) -> System:
    markers = {"sys_platform": "win32", "platform_system": "Windows", "os_name": "nt", "platform_machine": machine}
    return System(f"Windows, {machine}", (tag,), markers)


SYSTEMS: Final = (
    *(_linux(machine, libc) for libc in ("glibc", "musl") for machine in ("x86_64", "aarch64")),
    System(
        "macOS 11, arm64",
        ("macosx_11_0_arm64",),
        {"sys_platform": "darwin", "platform_system": "Darwin", "os_name": "posix", "platform_machine": "arm64"},
    ),
    _windows("win_amd64", "AMD64"),
    _windows("win_arm64", "ARM64"),
)


def pinned(system: System, python: str) -> dict[str, str]:
    """Return the packages that `romancy[all]` installs there, with the versions of the lock file."""
    version = python.removesuffix("t")
    markers = {**system.markers, "python_version": version, "python_full_version": f"{version}.0"}
    versions = locked_versions(markers)
    return {name: str(versions[name]) for name in sorted(_needed(markers))}


def _needed(markers: dict[str, str]) -> set[str]:
    """Return the names of the dependencies of `romancy[all]`, and of theirs, under these markers."""
    found: set[str] = set()
    asked = {("romancy", ""), ("romancy", "all")}
    done: set[tuple[str, str]] = set()
    while asked - done:
        name, extra = min(asked - done)
        done.add((name, extra))
        for requirement in map(Requirement, _requires(name)):
            if requirement.marker is None or requirement.marker.evaluate({**markers, "extra": extra}):
                of = canonicalize_name(requirement.name)
                found.add(of)
                asked |= {(of, ""), *((of, each) for each in requirement.extras)}
    return found - {"romancy"}


def _requires(name: str) -> list[str]:
    try:
        return metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return []  # needed on another system only, as colorama, and needs nothing itself


def missing(system: System, python: str) -> list[str]:
    """Return the packages that have no wheel there."""
    return _missing_of(system, python, list(pinned(system, python).items()))


def _missing_of(system: System, python: str, packages: list[tuple[str, str]]) -> list[str]:
    """Ask for all of them, and for each half if there is not a wheel of each."""
    if _has_wheels(system, python, dict(packages)):
        return []
    if len(packages) == 1:
        return [packages[0][0]]
    half = len(packages) // 2
    return [name for part in (packages[:half], packages[half:]) for name in _missing_of(system, python, part)]


def _has_wheels(system: System, python: str, packages: dict[str, str]) -> bool:
    """Ask pip. Raises `RuntimeError` if it fails for another reason than that there is no wheel."""
    tag = python.replace(".", "")
    abis = ("none", f"cp{tag}", *(() if tag.endswith("t") else ("abi3",)))
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--no-deps", "--target", folder),
                *("--only-binary", ":all:", "--implementation", "cp", "--python-version", tag.removesuffix("t")),
                *(part for each in abis for part in ("--abi", each)),
                *(part for each in system.tags for part in ("--platform", each)),
                *(f"{name}=={version}" for name, version in packages.items()),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode and "No matching distribution found" not in done.stderr:
        raise RuntimeError(f"pip failed: {done.stderr.strip()[-500:]}")
    return done.returncode == 0


def ask() -> dict[str, Any]:
    """Ask for all systems and Pythons; return what is written down."""
    asked = [(system, python) for system in SYSTEMS for python in PYTHONS]
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(missing, *zip(*asked, strict=True)))
    table: dict[str, dict[str, list[str]]] = {system.name: {} for system in SYSTEMS}
    for (system, python), answer in zip(asked, answers, strict=True):
        table[system.name][python] = answer
    return {"date": datetime.now(UTC).date().isoformat(), "packages": all_pinned(), "missing": table}


def all_pinned() -> list[str]:
    """Return each package with its version, over all systems and Pythons."""
    pins = {pin for system in SYSTEMS for python in PYTHONS for pin in pinned(system, python).items()}
    return [f"{name} {version}" for name, version in sorted(pins)]


def main() -> int:
    if platform.python_implementation() != "CPython":
        print("wheels: needs CPython", file=sys.stderr)
        return 1
    answers = ask()
    ANSWERS.parent.mkdir(exist_ok=True)
    ANSWERS.write_text(json.dumps(answers, indent=1) + "\n", "utf-8")
    for system, pythons in answers["missing"].items():
        for python, names in pythons.items():
            if names:
                print(f"wheels: {system}, Python {python}: no wheel of {', '.join(names)}")
    print(f"wheels: {len(SYSTEMS)} systems, {len(PYTHONS)} Pythons; run `python -m tools.machines.records` now")
    return 0


if __name__ == "__main__":
    sys.exit(main())
