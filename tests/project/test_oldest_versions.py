"""A Python or a package below its floor is refused in one sentence with the version that is needed."""

from __future__ import annotations

import ast
import runpy
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import aiomysql
import anyio
import asyncpg
import msgspec
import pymysql
import pytest
from sqlite_utils import Database

import romancy_sqlite
from romancy import _oldest_versions
from romancy._oldest_versions import BELOW, FLOORS, refusal
from romancy.cli import main
from romancy.errors import StorageConfigurationError
from romancy.storage.backends import create_store
from tools import tree

FILE = Path(_oldest_versions.__file__)
MARIADB = "mariadb://root@127.0.0.1/none"


def test_the_floors_are_those_of_the_project() -> None:
    project: dict[str, Any] = tomllib.loads((tree.ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["postgres"], *extras["mysql"]]
    ours = [f"{name}>={floor}" + (f",<{BELOW[name]}" if name in BELOW else "") for name, floor in FLOORS.items()]
    assert sorted(wanted) == sorted(ours)
    assert project["requires-python"] == ">=3.11"


@pytest.mark.parametrize(
    ("package", "found", "refused"),
    [
        ("msgspec", "0.18.9", True),
        ("msgspec", "0.19", False),
        ("msgspec", "0.19.0.dev1", False),
        ("msgspec", "1.0", False),
        ("sqlite-utils", "3.39.1", True),
        ("sqlite-utils", "4.0", False),
        ("sqlite-utils", "4.0a1", False),
        ("PyMySQL", "1.1.0", True),
        ("PyMySQL", "1.1.3", False),
        ("PyMySQL", "1.2", True),
        ("PyMySQL", "1.2.0", True),
    ],
)
def test_versions_are_compared_as_numbers(package: str, found: str, refused: bool) -> None:  # noqa: FBT001 - a case
    assert (refusal(package, found) is not None) is refused


def test_the_sentence_says_what_is_needed() -> None:
    assert refusal("msgspec", "0.18.6") == "msgspec 0.18.6: Romancy needs 0.19 or newer; pip install 'msgspec>=0.19'"
    assert refusal("PyMySQL", "1.2.0") == (
        "PyMySQL 1.2.0: Romancy needs 1.1.1 or newer, and older than 1.2; pip install 'PyMySQL>=1.1.1,<1.2'"
    )


@pytest.mark.parametrize("file", [FILE, FILE.with_name("__init__.py")], ids=lambda file: file.name)
def test_an_old_python_can_read_up_to_the_check(file: Path) -> None:
    body = ast.parse(file.read_text("utf-8"), feature_version=(3, 7)).body
    first = [one for one in body if isinstance(one, (ast.Import, ast.ImportFrom))]
    if file == FILE:
        assert [ast.unparse(one) for one in first[:3]] == [
            "from __future__ import annotations",
            "import re",
            "import sys",
        ]
    else:
        assert ast.unparse(first[1]) == "import romancy._oldest_versions"


def test_an_old_python_is_refused_at_import(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 10, 13))
    monkeypatch.setattr(sys, "version", "3.10.13 (main)")
    with pytest.raises(ImportError, match=r"^Python 3\.10\.13: Romancy needs Python 3\.11 or newer$"):
        runpy.run_path(str(FILE))


def test_old_packages_are_refused_at_import(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(msgspec, "__version__", "0.18.6")
        with pytest.raises(ImportError, match=r"^msgspec 0\.18\.6: Romancy needs 0\.19 or newer; pip install"):
            runpy.run_path(str(FILE))
    monkeypatch.delattr(anyio.Lock, "__new__")
    runpy.run_path(str(FILE))  # a newer one without what 4.5 brought is good
    monkeypatch.setattr(metadata, "version", {"anyio": "4.4.0"}.__getitem__)
    with pytest.raises(ImportError, match=r"^anyio 4\.4\.0: Romancy needs 4\.5 or newer; pip install"):
        runpy.run_path(str(FILE))


def test_an_old_sqlite_utils_is_refused_when_the_store_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(Database, "atomic")
    monkeypatch.setattr(metadata, "version", {"sqlite-utils": "3.39"}.__getitem__)
    with pytest.raises(StorageConfigurationError, match=r"^sqlite-utils 3\.39: Romancy needs 4 or newer"):
        runpy.run_path(str(Path(romancy_sqlite.__file__).with_name("_driver.py")))


def test_an_old_driver_is_refused_when_the_store_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asyncpg, "__version__", "0.29.0")
    with pytest.raises(StorageConfigurationError, match=r"^asyncpg 0\.29\.0: Romancy needs 0\.30 or newer"):
        create_store("postgresql://127.0.0.1/none")
    with monkeypatch.context() as patch:
        patch.setattr(pymysql, "VERSION", (1, 2, 0, "final"))
        with pytest.raises(StorageConfigurationError, match=r"^PyMySQL 1\.2\.0: Romancy needs .*older than 1\.2"):
            create_store(MARIADB)
    monkeypatch.setattr(aiomysql, "__version__", "0.2.0")
    with pytest.raises(StorageConfigurationError, match=r"^aiomysql 0\.2\.0: Romancy needs 0\.3\.2 or newer"):
        create_store(MARIADB)


def test_an_old_click_is_refused_by_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("romancy.cli.version", {"click": "8.1.8"}.__getitem__)
    with pytest.raises(SystemExit, match=r"^click 8\.1\.8: Romancy needs 8\.3\.1 or newer"):
        main(["list"])
