"""What a user installs: one complete wheel with five packages, which installs no database driver.

The test installs the wheel in a separate environment: the development environment proves nothing about it.
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tools import tree
from tools.distribution import LOCK, build_wheel, empty_environment, install, locked_versions, run

PACKAGES = {"romancy", "romancy_sqlite", "romancy_postgres", "romancy_mysql", "romancy_conformance"}

IMPORTS_ALONE = """
import importlib.util, json, sys

import romancy
loaded = set(sys.modules)
import romancy_sqlite

drivers = {"sqlite3", "sqlite_utils", "asyncpg", "aiomysql", "pymysql", "pytest", "hypothesis"}
print(json.dumps({
    "romancy comes from": romancy.__file__,
    "drivers that importing romancy loads": sorted(loaded & drivers),
    "drivers that are installed": sorted(d for d in drivers if importlib.util.find_spec(d)),
}))
"""

WHERE_THEY_ARE = """
import importlib, json, sys

print(json.dumps([importlib.import_module(name).__file__ for name in sys.argv[1:]]))
"""

SUITE = "romancy_conformance"
SERVERS = f"{SUITE}/servers/"
"""The part that starts database servers; it is not in the wheel."""

LOADS_ALL = """
import importlib, json, pathlib, sys
import romancy_conformance

root = pathlib.Path(romancy_conformance.__file__).parent
names = [".".join((root.name, *path.relative_to(root).with_suffix("").parts)) for path in sorted(root.rglob("*.py"))]
need_drivers = {f"{root.name}.taps.mysql", f"{root.name}.taps.postgres"}
assert need_drivers < set(names)
for name in set(names) - need_drivers:
    importlib.import_module(name)
print(json.dumps([str(root), len(names)]))
"""


def test_the_wheel_holds_the_five_packages_without_servers_and_nothing_else(tmp_path: Path) -> None:
    sources = {
        "romancy": "romancy",
        "backends/romancy_sqlite": "romancy_sqlite",
        "backends/romancy_postgres": "romancy_postgres",
        "backends/romancy_mysql": "romancy_mysql",
        "conformance_tests/romancy_conformance": "romancy_conformance",
    }
    expected = {
        package + tree.name_of(path).removeprefix(folder)
        for path in tree.files()
        for folder, package in sources.items()
        if tree.name_of(path).startswith(f"{folder}/")
    }

    with zipfile.ZipFile(build_wheel(tmp_path)) as wheel:
        shipped = {name for name in wheel.namelist() if ".dist-info/" not in name}

    assert {name for name in expected if not name.startswith(SERVERS)} == shipped
    assert any(name.startswith(SERVERS) for name in expected)
    assert not any("mutation" in name for name in shipped)
    assert {f"{package}/py.typed" for package in PACKAGES} <= shipped


@pytest.mark.long
@pytest.mark.timeout(300)
def test_somebody_with_the_wheel_runs_the_suite_on_a_store(tmp_path: Path) -> None:
    commands = empty_environment(tmp_path / "empty")
    install(commands, f"{build_wheel(tmp_path)}[conformance]")
    python = commands / "python"

    root, count = json.loads(run(python, "-W", "error", "-c", LOADS_ALL, cwd=tmp_path))
    store = ("--storage-url", f"sqlite:///{tmp_path}/{{unique}}.db")
    said = run(
        python,
        "-m",
        "pytest",
        "--pyargs",
        f"{SUITE}.contract",
        *store,
        "-k",
        "test_log or test_durability",
        cwd=tmp_path,
    )

    assert Path(root).is_relative_to(tmp_path)
    assert count > 100
    assert 2 == len(re.findall(r"^kept +(?:The log: one row per commit|Durability: )", said, re.MULTILINE))


@pytest.mark.long
@pytest.mark.timeout(300)
def test_the_wheel_alone_brings_and_loads_no_driver_but_that_of_sqlite(tmp_path: Path) -> None:
    commands = empty_environment(tmp_path / "empty")
    install(commands, build_wheel(tmp_path))

    seen = json.loads(run(commands / "python", "-W", "error", "-c", IMPORTS_ALONE, cwd=tmp_path))

    assert Path(seen["romancy comes from"]).is_relative_to(tmp_path)
    assert [] == seen["drivers that importing romancy loads"]
    assert ["sqlite3", "sqlite_utils"] == seen["drivers that are installed"]


@pytest.mark.long
def test_the_editable_install_finds_the_packages_in_the_tree(tmp_path: Path) -> None:
    files = json.loads(run(sys.executable, "-c", WHERE_THEY_ARE, *sorted(PACKAGES), cwd=tmp_path))

    assert PACKAGES == {Path(file).parent.name for file in files}
    assert all(Path(file).is_relative_to(tree.ROOT) for file in files)


def test_every_url_scheme_leads_to_its_backend() -> None:
    found = metadata.entry_points(group="romancy.backends")

    assert {point.name: point.module for point in found if callable(point.load())} == {
        "sqlite": "romancy_sqlite",
        "postgresql": "romancy_postgres",
        "postgres": "romancy_postgres",
        "mysql": "romancy_mysql",
        "mariadb": "romancy_mysql",
        "tidb": "romancy_mysql",
        "memory": "romancy_sqlite",
    }


def test_the_lock_fits_what_the_project_asks_for() -> None:
    asked_for = tomllib.loads((tree.ROOT / "pyproject.toml").read_text("utf-8"))
    groups = [
        asked_for["project"]["dependencies"],
        *asked_for["project"]["optional-dependencies"].values(),
        *asked_for["dependency-groups"].values(),
    ]
    requirements = [Requirement(line) for group in groups for line in group]
    locked = locked_versions()

    unmet = [
        str(requirement)
        for requirement in requirements
        if requirement.name != "romancy"
        and (
            requirement.name.lower() not in locked
            or not requirement.specifier.contains(locked[requirement.name.lower()], prereleases=True)
        )
    ]

    assert [] == unmet, "run `make lock`"


def test_every_locked_file_has_a_hash_and_none_has_an_address() -> None:
    entries = re.split(r"^(?=[\w.-]+==)", LOCK.read_text("utf-8"), flags=re.MULTILINE)[1:]

    assert [] == [entry.split(" ")[0] for entry in entries if "--hash=sha256:" not in entry]
    assert "://" not in LOCK.read_text("utf-8")


def test_the_library_itself_needs_few_packages() -> None:
    needed = [Requirement(line) for line in metadata.requires("romancy") or []]

    assert {"anyio", "click", "msgspec", "sqlite-utils"} == {r.name for r in needed if r.marker is None}
