"""The plugin for adapter authors: one command anywhere, a verdict for each promise, beside the servers' plugin."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_TESTS = '''
"""It holds: what was promised.

More about it.
"""
import pytest

def test_kept(storage_url):
    assert "{unique}" not in storage_url

@pytest.mark.parametrize("number", [1, 2])
def test_broken(storage_url, number):
    assert number == 1

def test_left_out(storage_url):
    pytest.skip("capability: it cannot")

def test_empty(empty_url):
    pass
'''


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., str]:
    """Run pytest without this tree's configuration; return its output."""
    package = tmp_path / "elsewhere" / "romancy_conformance"
    package.mkdir(parents=True)
    (package / "test_promise.py").write_text(_TESTS, encoding="utf-8")

    def runner(*arguments: str) -> str:
        kept = {name: value for name, value in os.environ.items() if name not in {"CI", "PYTEST_ADDOPTS"}}
        # The entry point may not be installed here yet; -p with the same name loads the same plugin once.
        command = [sys.executable, "-m", "pytest", "-q", "-p", "romancy_conformance.plugin", *arguments]
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env=kept | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            check=False,
            capture_output=True,
            text=True,
        )
        return done.stdout + done.stderr

    return runner


def test_the_contract_runs_on_a_named_store_with_a_verdict_per_promise(run: Callable[..., str]) -> None:
    said = run("--pyargs", "romancy_conformance.contract.test_log", "--storage-url", "memory://{unique}")

    assert "kept      The log: one row per commit, and its key is the fence." in said
    assert re.search(r"\b\d+ passed\n", said)
    assert "failed" not in said


@pytest.mark.long
@pytest.mark.parametrize("beside", [(), ("-p", "romancy_conformance.servers.plugin"), ("-n1",)])
def test_broken_and_skipped_tests_are_named_with_their_promise(
    run: Callable[..., str], beside: tuple[str, ...]
) -> None:
    said = run(*beside, "elsewhere", "--storage-url", "memory://it").replace("\n            ", "\n")

    _, _, report = said.partition("romancy promises ")
    assert "BROKEN    It holds: what was promised.\n1 passed, 1 failed, 2 skipped\n" not in report, (
        "two cases, one broken"
    )
    assert "BROKEN    It holds: what was promised.\n2 passed, 1 failed, 2 skipped\nbroken: test_broken[" in report
    assert "skipped, 1: it cannot\n" in report
    assert "skipped, 1: needs an empty database; put {unique} into --storage-url\n" in report


@pytest.mark.long
def test_the_report_shows_no_password(run: Callable[..., str]) -> None:
    said = run("--tb=no", "elsewhere", "--storage-url", "memory://user:hunter2@host/it")

    assert "the store at memory://host/it: " in said
    assert "hunter2" not in said


@pytest.mark.long
def test_without_a_url_it_keeps_out_of_the_way(run: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text("def test_mine():\n    pass\n", encoding="utf-8")

    said = run("test_mine.py")

    assert "1 passed" in said
    assert "romancy" not in said
