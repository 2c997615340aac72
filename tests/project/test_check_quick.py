"""`make check-quick` runs every tool, whatever the first one finds, and pyright on what has changed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tools import check_quick, tree
from tools.check_quick import Check

if TYPE_CHECKING:
    from collections.abc import Callable

    Git = Callable[..., str]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A clone of a repository with three files, on a branch with an upstream."""
    origin = tmp_path / "origin"
    origin.mkdir()
    for name in ("same.py", "first.py", "gone.py"):
        (origin / name).write_text("")
    (origin / ".gitignore").write_text("made.py\n")
    run = git_in(origin)
    run("init", "-q", "-b", "trunk")
    run("add", ".")
    run("commit", "-q", "-m", "begin")
    run("clone", "-q", ".", f"{tmp_path / 'clone'}")
    return tmp_path / "clone"


def git_in(root: Path) -> Git:
    """Run git there, as somebody, without the settings of this machine's user."""
    person = ("-c", "user.name=x", "-c", "user.email=x@localhost", "-c", "commit.gpgsign=false")

    def run(*arguments: str) -> str:
        return subprocess.run(["git", *person, *arguments], cwd=root, check=True, capture_output=True, text=True).stdout

    return run


def test_a_fresh_clone_has_no_changed_file(root: Path) -> None:
    assert [] == check_quick.changed_files(root)


def test_changed_is_what_differs_from_the_upstream_in_whatever_state(root: Path) -> None:
    git = git_in(root)
    (root / "first.py").write_text("a = 1\n")
    git("commit", "-q", "-a", "-m", "not yet pushed")
    (root / "staged.py").write_text("")
    git("add", "staged.py")
    (root / "folder").mkdir()
    for name in ("folder/ünïcode name.py", "stub.pyi", "page.md", "made.py"):
        (root / name).write_text("")
    (root / ".hidden").mkdir()
    (root / ".hidden/left_out.py").write_text("")
    (root / "gone.py").unlink()

    assert ["first.py", "folder/ünïcode name.py", "staged.py", "stub.pyi"] == check_quick.changed_files(root)


def test_what_the_upstream_has_gained_meanwhile_is_not_changed_here(root: Path) -> None:
    origin = root.parent / "origin"
    (origin / "new.py").write_text("")
    (origin / "same.py").write_text("b = 1\n")
    git_in(origin)("add", ".")
    git_in(origin)("commit", "-q", "-m", "meanwhile")
    git_in(root)("fetch", "-q")

    assert [] == check_quick.changed_files(root)


def test_without_an_upstream_it_is_what_differs_from_head(root: Path) -> None:
    git = git_in(root)
    git("checkout", "-q", "--detach")
    (root / "first.py").write_text("a = 1\n")
    git("commit", "-q", "-a", "-m", "done")
    (root / "same.py").write_text("b = 1\n")

    assert ["same.py"] == check_quick.changed_files(root)


def test_outside_a_checkout_it_does_not_pass(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="names no changed files"):
        check_quick.changed_files(tmp_path)


def tool(name: str, code: str) -> Check:
    """A check that runs a line of Python."""
    return Check(name, (sys.executable, "-c", code))


def test_all_tools_run_and_each_finding_is_shown_once(capsys: pytest.CaptureFixture[str]) -> None:
    wanted = [
        tool("first", "raise SystemExit('finding ' + 'one')"),
        tool("second", "print('only ' + 'noise')"),
        Check("third", ("/no/such/tool",)),
        tool("last", "print('finding ' + 'two'); raise SystemExit(3)"),
    ]

    assert check_quick.run_all(wanted)
    shown = capsys.readouterr().out
    assert [1, 1, 0] == [shown.count(words) for words in ("finding one", "finding two", "only noise")]
    assert ["FAILED", "passed", "FAILED", "FAILED"] == re.findall("FAILED|passed", shown)
    assert shown.endswith("failed: first; third; last\n")


def test_it_passes_if_all_pass(capsys: pytest.CaptureFixture[str]) -> None:
    assert not check_quick.run_all([tool("first", ""), tool("second", "")])
    assert capsys.readouterr().out.endswith("2 checks passed\n")


@pytest.mark.parametrize(("code", "status"), [("", 0), ("raise SystemExit(2)", 1)])
def test_a_finding_gives_the_run_its_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], code: str, status: int
) -> None:
    def nothing(_: Path) -> list[str]:
        return []

    def one(_: list[str]) -> list[Check]:
        return [tool("one", code)]

    monkeypatch.setattr(check_quick, "changed_files", nothing)
    monkeypatch.setattr(check_quick, "checks", one)

    assert status == check_quick.main()
    assert "pyright: no Python file has changed" in capsys.readouterr().out


def test_the_tools_are_those_of_the_environment() -> None:
    tools = {Path(check.command[0]).name: check.command[1:] for check in check_quick.checks(["a.py", "b.py"])}

    assert tools["pyright"] == ("a.py", "b.py")
    assert tools.keys() == {"ruff", "mypy", "lint-imports", "pyright"}
    assert [("format", "--check", "."), ("check", ".")] == [
        check.command[1:] for check in check_quick.checks([]) if check.name.startswith("ruff")
    ]
    assert not any("pyright" in check.name for check in check_quick.checks([]))
    assert all(Path(check.command[0]).exists() for check in check_quick.checks(["a.py"]))


def test_the_imports_are_held_to_the_contracts_of_make_check() -> None:
    recipe = (tree.ROOT / "Makefile").read_text().partition("\ncheck-architecture:")[2].partition("\n\n")[0]
    whole = [line.split()[1:] for line in recipe.splitlines()[1:]]

    assert whole == [[*check.command[1:]] for check in check_quick.checks([]) if "lint-imports" in check.command[0]]


def test_make_runs_it() -> None:
    recipe = (tree.ROOT / "Makefile").read_text().partition("\ncheck-quick:")[2].splitlines()[1]

    assert recipe == "\t$(BIN)/python -m tools.check_quick"
