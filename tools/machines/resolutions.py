"""`make test-floors` and `make test-newest` run the suite with other versions of packages than those of the lock file.

    python -m tools.machines.resolutions floors              # the core and each extra, each with its lowest versions
    python -m tools.machines.resolutions floors http core    # these
    python -m tools.machines.resolutions newest              # everything, as it is resolved today

With floors, each dependency that pyproject.toml names has exactly the version that it names; a floor that cannot be
installed beside the others is an error. What the dependencies need themselves is as in the lock file, unless a floor
forbids that. A part has an environment of its own, so it cannot live on the packages of another one. The runs are
recorded for the page "Where it runs".

The newest versions may fail by no fault of this tree: that run warns and ends with 0.
"""

from __future__ import annotations

import re
import sys
import time
import tomllib
from typing import TYPE_CHECKING, Any, Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tools.distribution import LOCK
from tools.machines import environments, suite
from tools.machines.interpreters import NoPythonError, find
from tools.machines.parts import PARTS, TOOLS, Part
from tools.machines.pythons import name_of
from tools.machines.records import record
from tools.tree import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tools.machines.suite import Counts

PROJECT: Final = ROOT / "pyproject.toml"
OF_FLOORS: Final = "3.11"
"""The Python of the floors: a newer one has no wheels of some of them, so nobody installs these there."""
DATABASES: Final = {"memory,sqlite": "memory, SQLite", "postgres": "PostgreSQL", "mysql,mariadb": "MySQL, MariaDB"}
REWRITTEN: Final = (
    "-W",
    "ignore:Module already imported so cannot be rewritten:pytest.PytestAssertRewriteWarning",
)
"""pytest 8.2 warns of plugins that import each other."""
_TIER: Final = ("-n", "auto", "--dist", "worksteal", "--tier", "short")


class FloorError(RuntimeError):
    """A floor of pyproject.toml is not true; the message names it."""


def what(part: Part) -> str:
    """Return what the run of a part's floors is called in the records."""
    return f"the lowest versions of {part.name}"


def floors_of(part: Part) -> dict[str, Version]:
    """Return the lowest version of each dependency of a part that pyproject.toml names.

    Raises `FloorError` if they cannot be installed together.
    """
    wanted: dict[str, Version] = {
        canonicalize_name(requirement.name): _lowest(requirement) for requirement in _requirements(part.extra)
    }
    extra = ("--extra", part.extra) if part.extra else ()
    form = ("--quiet", "--no-header", "--no-annotate", "--no-emit-index-url", "--python-version", OF_FLOORS)
    resolved = _pins(environments.uv("pip", "compile", *form, "--resolution", "lowest-direct", *extra, PROJECT))
    for name, version in wanted.items():
        if resolved[name] != version:
            raise FloorError(
                f"{part.name}: {name}>={version} cannot be installed with the other floors: "
                f"{name} {resolved[name]} is the lowest that can. Write {name}>={resolved[name]} in pyproject.toml"
            )
    return wanted


def make(part: Part, folder: Path) -> None:
    """Make the environment of a part's floors."""
    floors = folder.with_name(f"{folder.name}-floors.txt")
    floors.parent.mkdir(parents=True, exist_ok=True)
    floors.write_text("".join(f"{name}=={version}\n" for name, version in floors_of(part).items()), "utf-8")
    asked = folder.with_name(f"{folder.name}-asked.txt")
    asked.write_text("\n".join([f"-r {floors.name}", *_builders(), *TOOLS, *part.tools]), "utf-8")
    pinned = folder.with_name(f"{folder.name}-pinned.txt")
    pinned.write_bytes(LOCK.read_bytes())  # uv keeps the pins of the file that it overwrites
    form = ("--quiet", "--no-header", "--no-annotate", "--no-emit-index-url", "--python-version", OF_FLOORS)
    environments.uv("pip", "compile", *form, asked, "--output-file", pinned)
    environments.with_packages(find(OF_FLOORS).executable, folder, pinned)


def try_floors(part: Part) -> bool:
    """Run the tests of a part on its floors and record the run; return whether all passed."""
    folder = environments.FOLDER / f"floors-{part.extra or 'core'}"
    make(part, folder)
    found = find(OF_FLOORS)
    print(f"floors: {part.name} on {name_of(found.exact)}", flush=True)
    counts = _timed(f"floors: {part.name}", folder, *REWRITTEN, *_TIER, *part.all_tests, backends=part.backends)
    _record(found.exact, DATABASES[part.backends], what(part), counts)
    return counts.failed == 0


def try_newest() -> bool:
    """Run the tier without servers on the newest versions of all packages; record it and return whether all passed."""
    folder = environments.FOLDER / "newest"
    folder.parent.mkdir(parents=True, exist_ok=True)
    pinned = folder.with_name("newest-pinned.txt")
    exact = ".".join(map(str, sys.version_info[:3]))
    form = ("--quiet", "--no-header", "--no-annotate", "--no-emit-index-url", "--python-version", exact)
    environments.uv("pip", "compile", *form, "--upgrade", "--all-extras", "--group", "dev", PROJECT, "-o", pinned)
    newer = _pins(pinned.read_text("utf-8")).items() - _pins(LOCK.read_text("utf-8")).items()
    print(
        f"newest: newer than the lock file: {', '.join(f'{n} {v}' for n, v in sorted(newer)) or 'nothing'}", flush=True
    )
    environments.with_packages(sys.executable, folder, pinned)
    counts = _timed("newest: everything", folder, *_TIER)
    _record(exact, DATABASES[suite.WITHOUT_SERVERS], "the newest of everything", counts, required=False)
    return counts.failed == 0


def _chosen(names: Sequence[str]) -> list[Part]:
    """Return the parts of these names, or all. Raises `FloorError` for a name that is none."""
    known = {part.extra or "core": part for part in PARTS}
    if unknown := set(names) - set(known):
        raise FloorError(f"there is no part {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    return [known[name] for name in names or known]


def _timed(title: str, folder: Path, *arguments: str, backends: str = suite.WITHOUT_SERVERS) -> Counts:
    started = time.monotonic()
    counts = suite.run(folder, *arguments, backends=backends)
    print(f"{title}: {counts}, {time.monotonic() - started:.0f} s", flush=True)
    return counts


def _record(exact: str, databases: str, ran: str, counts: Counts, *, required: bool = True) -> None:
    counted = {"passed": counts.passed, "failed": counts.failed, "skipped": counts.skipped}
    record(suite.this_system(), name_of(exact), databases, ran, **counted, required=required)


def _builders() -> list[str]:
    """Return what builds the tree, which is installed without an isolated environment."""
    settings: dict[str, Any] = tomllib.loads(PROJECT.read_text("utf-8"))
    builders: list[str] = settings["build-system"]["requires"]
    return builders


def _requirements(extra: str) -> Iterator[Requirement]:
    """Yield what pyproject.toml asks for, for the core and one extra."""
    project: dict[str, Any] = tomllib.loads(PROJECT.read_text("utf-8"))["project"]
    optional: list[str] = project["optional-dependencies"][extra] if extra else []
    yield from map(Requirement, [*project["dependencies"], *optional])


def _lowest(requirement: Requirement) -> Version:
    return next(Version(each.version) for each in requirement.specifier if each.operator == ">=")


def _pins(text: str) -> dict[str, Version]:
    found = re.findall(r"^([\w.-]+)==([^\s;]+)", text, re.MULTILINE)
    return {name.lower(): Version(version) for name, version in found}


def main(arguments: Sequence[str]) -> int:
    which, *names = arguments
    try:
        if which == "newest":
            if not try_newest():
                print("newest: WARNING: the newest versions break tests; see above", file=sys.stderr)
            return 0
        chosen = _chosen(names)
        results = [try_floors(part) for part in chosen]
    except (FloorError, NoPythonError, environments.NoEnvironmentError) as error:
        print(f"{which}: {error}", file=sys.stderr)
        return 0 if which == "newest" else 1
    return 0 if results and all(results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
