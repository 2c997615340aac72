"""The import contracts work: forbidden imports are planted in a copy of the tree, and each must be reported."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tools import tree

PLANTED = {
    "romancy/core/planted_clock.py": "import time",
    "romancy/core/planted_loop.py": "import asyncio",
    "romancy/core/planted_engine.py": "import romancy.engine",
    "romancy/core/planted_store.py": "import romancy.storage",
    "romancy/core/words/planted_run.py": "import romancy.core.run.run",
    "romancy/storage/planted_core.py": "import romancy.core",
    "romancy/serialization/planted_storage.py": "from romancy import storage",
    "romancy/engine/planted_driver.py": "import sqlite3",
    "romancy/engine/planted_adapter.py": "import romancy_sqlite",
    "romancy/storage/planted_suite.py": "import romancy_conformance",
    "romancy/engine/returning.py": "import romancy.engine.driver",
    "romancy/engine/planted_door.py": "import romancy",
    "backends/romancy_sqlite/planted_engine.py": "import romancy.engine",
    "backends/romancy_sqlite/planted_json.py": "import romancy.serialization",
    "backends/romancy_postgres/planted_neighbour.py": "import romancy_mysql",
    "backends/romancy_mysql/planted_suite.py": "import romancy_conformance",
    "backends/romancy_mysql/planted_test_tool.py": "import pytest",
}


CIRCLE = {
    "romancy/engine/planted_hen.py": "import romancy.engine.planted_egg",
    "romancy/engine/planted_egg.py": "import romancy.engine.planted_hen",
}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the packages with the forbidden imports planted in it."""
    folder = tmp_path_factory.mktemp("tree")
    for package in ("romancy", "backends", "conformance_tests"):
        shutil.copytree(tree.ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name, statement in {**PLANTED, **CIRCLE}.items():
        (folder / name).write_text(f"{statement}\n")
    return folder


def lint(folder: Path, config: Path) -> str:
    checked = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--no-logo", "--config", config],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([".", "backends", "conformance_tests"])},
        capture_output=True,
        text=True,
        check=False,
    )

    assert checked.returncode == 1, checked.stdout + checked.stderr
    return checked.stdout


def test_every_forbidden_import_is_reported_and_every_contract_can_be_broken(copy: Path) -> None:
    """One report tells of all of them: a test for each would write it again in every test process."""
    report = lint(copy, tree.ROOT / "pyproject.toml")

    for name, statement in PLANTED.items():
        importer = re.sub(r"^(backends|conformance_tests)/", "", name).removesuffix(".py").replace("/", ".")
        imported = re.sub(r"from (\w+) import (\w+)", r"\1.\2", statement).removeprefix("import ")
        assert re.search(rf"{re.escape(importer)} +-> +{re.escape(imported)}\b", report), report

    settings = tomllib.loads((tree.ROOT / "pyproject.toml").read_text("utf-8"))
    contracts = [contract["name"] for contract in settings["tool"]["importlinter"]["contracts"]]

    verdicts = re.findall(r"^(.*) (KEPT|BROKEN)\b", report, re.MULTILINE)
    assert [(name, "BROKEN") for name in contracts] == verdicts


def test_a_circle_is_reported(copy: Path) -> None:
    report = lint(copy, tree.ROOT / "tools" / "cycles.toml")

    assert "No modules import each other in a circle BROKEN" in report
    assert re.search(r"planted_(egg|hen) -> \.planted_(hen|egg)", report), report
