"""The plugin, in separate pytest sessions."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from romancy_conformance.servers import Kind
from romancy_conformance.servers.run import RUN_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_TESTS = """
import pytest

def test_everywhere(storage_url):
    assert "://" in storage_url

def test_apart(storage_url, backend):
    assert storage_url not in seen or backend in keeps_names
    seen.add(storage_url)

@pytest.mark.backends("sqlite", "mysql")
def test_somewhere(storage_url, backend):
    assert backend in ("sqlite", "mysql")

@pytest.mark.parametrize("time", [1, 2])
def test_again(storage_url, backend, time):
    assert storage_url not in seen or backend in keeps_names
    seen.add(storage_url)

seen = set()
keeps_names = ("postgres", "mysql", "mariadb")  # a database that is used again keeps its name
"""
_PYTEST = [sys.executable, "-m", "pytest", "-p", "no:hypothesispytest", "-p", "romancy_conformance.servers.plugin"]
_NOWHERE = "postgresql://somebody:secret@127.0.0.1:1/none"


@pytest.fixture
def session(tmp_path: Path) -> Callable[..., str]:
    """Run pytest with the plugin in a separate folder; return its output."""
    (tmp_path / "test_it.py").write_text(_TESTS, encoding="utf-8")

    def run(*arguments: str, **environment: str) -> str:
        kept = {name: value for name, value in os.environ.items() if name not in {"CI", "PYTEST_ADDOPTS"}}
        done = subprocess.run(
            [*_PYTEST, *arguments, "test_it.py"],
            cwd=tmp_path,
            env=kept | environment,
            check=False,
            capture_output=True,
            text=True,
        )
        return done.stdout + done.stderr

    return run


def test_each_storage_test_runs_once_per_chosen_backend(session: Callable[..., str]) -> None:
    said = session(ROMANCY_TEST_BACKENDS="sqlite, memory")

    assert "9 passed" in said
    assert re.search(r"^romancy backends: memory, sqlite 3", said, re.MULTILINE)
    assert re.search(r"^memory: 4 tests$", said, re.MULTILINE)
    assert re.search(r"^sqlite: SQLite 3[\d.]+: 5 tests$", said, re.MULTILINE)


def test_workers_of_a_distributed_session_count_together(session: Callable[..., str]) -> None:
    said = session("-n1", ROMANCY_TEST_BACKENDS="sqlite,memory")

    assert "9 passed" in said
    assert re.search(r"^sqlite: SQLite 3[\d.]+: 5 tests$", said, re.MULTILINE)


@pytest.mark.backends(*Kind)
def test_a_real_server_is_named_with_its_version(session: Callable[..., str], backend: str) -> None:
    said = session(ROMANCY_TEST_BACKENDS=backend)

    assert re.search(rf"^{backend}: (PostgreSQL|MySQL|MariaDB) \d+\.\d+.*: \d tests$", said, re.MULTILINE)
    assert "passed" in said
    assert "failed" not in said


def test_a_missing_server_is_a_loud_counted_skip(session: Callable[..., str]) -> None:
    said = session(ROMANCY_TEST_BACKENDS="memory,postgres", ROMANCY_TEST_POSTGRES_URL=_NOWHERE)

    assert "4 passed" in said
    assert "5 skipped" in said
    assert re.search(r"^NOT TESTED, 4 tests skipped: postgres: ROMANCY_TEST_POSTGRES_URL", said, re.MULTILINE)
    assert "secret" not in said


@pytest.mark.parametrize("processes", ["-n0", "-n1"])
def test_a_cache_that_cannot_be_written_is_such_a_skip(session: Callable[..., str], processes: str) -> None:
    nowhere = {"HOME": "/proc/none", "XDG_CACHE_HOME": "", "ROMANCY_CACHE": "", RUN_VARIABLE: ""}
    said = session(processes, ROMANCY_TEST_BACKENDS="memory,postgres", **nowhere)

    assert "4 passed" in said
    assert "5 skipped" in said
    assert re.search(
        r"^NOT TESTED, 4 tests skipped: postgres: the cache /proc/none/\S+ cannot be written: No", said, re.MULTILINE
    )
    assert "INTERNALERROR" not in said


def test_in_ci_a_missing_server_is_an_error(session: Callable[..., str]) -> None:
    said = session(ROMANCY_TEST_BACKENDS="memory,postgres", ROMANCY_TEST_POSTGRES_URL=_NOWHERE, CI="true")

    assert "4 passed" in said
    assert "4 errors" in said
    assert "1 skipped" in said  # the one for other backends
    assert "secret" not in said


def test_a_backend_nobody_knows_is_refused(session: Callable[..., str]) -> None:
    said = session(ROMANCY_TEST_BACKENDS="memory,oracle")

    assert "no backend 'oracle'; known are memory, sqlite, postgres, mysql, mariadb" in said


def test_a_storage_url_takes_the_place_of_the_backends(session: Callable[..., str]) -> None:
    said = session("-k", "everywhere", "-v", "--storage-url", "theirs://somewhere/else")

    assert "test_everywhere[theirs] PASSED" in said
    assert "1 passed" in said
