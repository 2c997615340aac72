"""`make test-quick` finds the changed functions, and chooses tests that enter them, as many as there is time for."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tools import tree
from tools.quick.changes import changed_functions, changed_lines, changed_paths
from tools.quick.choosing import Needs, choose, importers, needs
from tools.quick.mapping import Map, Run, load, merge, write

if TYPE_CHECKING:
    from pathlib import Path

SOURCE = """\
LIMIT = 3

class Box:
    @property
    def size(self):
        def inner():
            return 1
        return inner()

def other():
    return LIMIT
"""
FAST, SLOW, UNIT = "tests/a/test_a.py::test_fast[]", "tests/a/test_a.py::test_slow[]", "tests/b/test_b.py::test_unit[]"
RECORDED = Map({FAST: 1.0, SLOW: 9.0, UNIT: 2.0}, {"f": frozenset({FAST, SLOW, UNIT}), "g": frozenset({SLOW})})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with one commit."""
    (tmp_path / "romancy").mkdir()
    (tmp_path / "romancy" / "box.py").write_text(SOURCE)
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "-c", "user.name=x", "-c", "user.email=x@localhost", "commit", "-q", "-m", "begin")
    return tmp_path


def git(root: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=root, check=True)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([7], {"Box.size.inner"}),
        ([4, 8], {"Box.size"}),
        ([11], {"other"}),
        ([1], {"Box.size", "Box.size.inner", "other"}),
        (None, {"Box.size", "Box.size.inner", "other"}),
        ([], set[str]()),
    ],
    ids=["inner", "decorator", "last", "outside", "new-file", "none"],
)
def test_the_innermost_function_has_changed(lines: list[int] | None, expected: set[str]) -> None:
    assert expected == changed_functions(SOURCE, lines)


def test_changed_and_deleted_lines_are_found_whether_committed_or_not(root: Path) -> None:
    (root / "romancy" / "box.py").write_text(SOURCE.replace("return 1", "return 2").replace("    return LIMIT\n", ""))
    (root / "romancy" / "new.py").write_text("")

    assert ["romancy/box.py", "romancy/new.py"] == changed_paths(root, "HEAD")
    assert [7, 10, 11] == changed_lines(root, "HEAD", "romancy/box.py")
    assert changed_lines(root, "HEAD", "romancy/new.py") is None


def test_a_change_needs_its_functions_its_users_and_its_adapter(root: Path) -> None:
    (root / "romancy" / "box.py").write_text(SOURCE.replace("return 1", "return 2"))
    (root / "tests").mkdir()
    (root / "tests" / "client.py").write_text("")
    (root / "tests" / "server.py").write_text("from tests.client import ask\n")
    (root / "tests" / "test_http.py").write_text("from tests import (client)\n")
    (root / "tests" / "test_web.py").write_text("from tests.server import serve\n")
    tests = {"tests/test_http.py", "tests/test_web.py", "tests/test_own.py", "tests/backends/mysql/test_it.py"}
    paths = ["romancy/box.py", "tests/client.py", "tests/test_own.py", "backends/romancy_mysql/store.py"]

    wanted = needs(root, "HEAD", paths, [], tests)

    assert wanted == Needs(
        functions=frozenset({"romancy/box.py::Box.size.inner"}),
        own=frozenset({"tests/test_own.py"}),
        files=frozenset({"tests/test_http.py", "tests/test_web.py", "tests/backends/mysql/test_it.py"}),
        server="mysql",
    )


def test_a_change_needs_the_tests_that_are_about_its_module(root: Path) -> None:
    """Of a table in it, no test enters anything. Whatever changes in the library, the reference may tell of it."""
    (root / "tests").mkdir()
    for name, imported in {"box": "box", "other": "other", "few": "few"}.items():
        (root / "tests" / f"test_{name}.py").write_text(f"from romancy.{imported} import LIMIT\n")
    for number in range(4):
        (root / "tests" / f"test_many_{number}.py").write_text("from romancy.many import LIMIT\n")
    reference = "tests/project/test_reference.py"
    tests = {reference, *(f"tests/{file.name}" for file in (root / "tests").glob("test_*.py"))}
    for name in ("few", "many"):
        (root / "romancy" / f"{name}.py").write_text("LIMIT = 4\n")

    wanted = needs(root, "HEAD", ["romancy/few.py", "romancy/many.py"], [], tests)

    assert wanted.about == {"tests/test_few.py", reference}
    assert [UNIT] == choose(RECORDED, Needs(about=frozenset({"tests/b/test_b.py"})), 5.0)


def test_what_is_not_python_concerns_its_package(root: Path) -> None:
    recorded = ["romancy/dashboard/page.py::show", "romancy/dashboard.py::show"]

    wanted = needs(root, "HEAD", ["romancy/dashboard/static/dashboard.css"], recorded, ())

    assert wanted.functions == {"romancy/dashboard/page.py::show"}


def test_importers_end_where_imports_are_a_circle(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "one.py").write_text("import tests.two\n")
    (tmp_path / "tests" / "two.py").write_text("import tests.one\n")

    assert {"tests/one.py", "tests/two.py"} == importers(tmp_path, ["tests/one.py"])


def test_each_function_is_entered_and_each_file_has_its_turn() -> None:
    functions = Needs(frozenset({"f", "g", "unknown"}))

    assert [FAST, SLOW, UNIT] == choose(RECORDED, functions, 20.0)
    assert [FAST, UNIT] == choose(RECORDED, functions, 5.0)
    assert [UNIT, FAST] == choose(RECORDED, Needs(frozenset({"f"}), own=frozenset({"tests/b/test_b.py"})), 5.0)
    assert [] == choose(RECORDED, Needs(), 20.0)


def test_a_test_of_the_contract_costs_as_much_as_on_three_databases() -> None:
    name = "conformance_tests/romancy_conformance/contract/test_log.py::test_keys[]"
    recorded = Map({name: 1.0}, {"f": frozenset({name})})

    assert [[], [name]] == [choose(recorded, Needs(frozenset({"f"})), seconds) for seconds in (2.0, 3.0)]


def test_a_written_map_is_read(tmp_path: Path) -> None:
    runs = [Run(FAST, 1.0, frozenset({"f"})), Run(SLOW, 9.0, frozenset({"f", "g"}))]
    write(tmp_path / "map.json", runs)

    assert runs == load(tmp_path / "map.json")
    assert merge(runs) == Map({FAST: 1.0, SLOW: 9.0}, {"f": frozenset({FAST, SLOW}), "g": frozenset({SLOW})})


def test_a_marked_function_says_that_it_is_entered() -> None:
    program = """if True:
        from tools.quick import marking
        marking.install()
        from romancy.engine.worker import evidence
        marking.entered.clear()
        evidence.evidence_in([], "x")
        print(*sorted(marking.entered))
    """
    done = subprocess.run([sys.executable, "-c", program], cwd=tree.ROOT, check=True, capture_output=True, text=True)

    assert {f"romancy/engine/worker/evidence.py::{name}" for name in ("evidence_in", "_weighed", "_is_suspicious")} == {
        *done.stdout.split()
    }
