"""The pytest plugin that gives each test a database of its own on every chosen backend.

A test that uses `storage_url` runs once for each backend in ROMANCY_TEST_BACKENDS (by default all known ones), each
time on a database with tables and without rows. A test that uses `empty_url` gets a database without tables, which its
first store migrates. `@pytest.mark.backends("sqlite")` restricts a test; `--storage-url` replaces the backends with one
other store. This module knows memory and SQLite. Another plugin adds the databases of servers to `SOURCES`; without it,
tests that kill a server are skipped.
"""

from __future__ import annotations

import asyncio
import functools
import os
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from romancy.storage.backends import create_store
from romancy_conformance.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

__all__ = ["SOURCES", "UNAVAILABLE", "Source", "chosen_backends", "migrate", "migrated_file", "note_backend"]

pytest_plugins = [
    "romancy_conformance.plugin",  # --storage-url, and the report for it
    "romancy_conformance.replaying.plugin",  # the counts of replayed histories
]

UNIQUE = "{unique}"
"""In a given storage URL, this becomes a word unique to each test."""
UNAVAILABLE = "database unavailable: "
"""Prefix of the skip reasons that the summary counts."""
_USED = "romancy backend"


@dataclass(frozen=True)
class Source:
    """Where the databases of one backend come from."""

    database: Callable[[Path, bool], AbstractContextManager[tuple[str, str]]]
    """Takes a folder of the test and whether the database has its tables already; gives its URL, and its description in
    the summary.
    """
    described: Callable[[], str]
    """Returns its description for the header of a run."""
    private: Callable[[], AbstractContextManager[tuple[Any, str]]] | None = None
    """Yields a server to kill and freeze, and its description; None where the suite has no server for the database."""
    by_name: bool = False
    """Whether only runs use it that name it in ROMANCY_TEST_BACKENDS."""


@contextmanager
def _in_memory(folder: Path, migrated: bool) -> Generator[tuple[str, str]]:  # noqa: FBT001 - as `Source.database` has it
    url = f"memory://{uuid4().hex}"
    kept = create_store(url)  # the database lives as long as a store of it; a test may close one and open another
    yield url, "memory"
    del kept


@contextmanager
def _in_a_file(folder: Path, migrated: bool) -> Generator[tuple[str, str]]:  # noqa: FBT001 - as `Source.database` has it
    path = folder / "romancy.db"
    if migrated:
        path.write_bytes(migrated_file())
    yield f"sqlite:///{path}", f"sqlite: SQLite {sqlite3.sqlite_version}"


@functools.cache
def migrated_file() -> bytes:
    """Return the bytes of a SQLite database that was migrated and never used."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "romancy.db")
        migrate(f"sqlite:///{path}")
        return path.read_bytes()


def migrate(url: str) -> None:
    """Open a database once and close it."""

    async def opened() -> None:
        store = create_store(url)
        await store.open()
        await store.close()

    with ThreadPoolExecutor(1) as thread:  # the caller may have a loop running
        thread.submit(asyncio.run, opened()).result()


SOURCES: dict[str, Source] = {
    "memory": Source(_in_memory, lambda: "memory"),
    "sqlite": Source(_in_a_file, lambda: f"sqlite {sqlite3.sqlite_version}"),
}


def chosen_backends() -> list[str]:
    """Return the backends of this run, from ROMANCY_TEST_BACKENDS."""
    text = os.environ.get("ROMANCY_TEST_BACKENDS", "")
    usual = [name for name, source in SOURCES.items() if not source.by_name]
    names = [name.strip() for name in text.split(",") if name.strip()] or usual
    if unknown := sorted(set(names) - set(SOURCES)):
        raise pytest.UsageError(f"ROMANCY_TEST_BACKENDS: no backend {unknown[0]!r}; known are {', '.join(SOURCES)}")
    return [name for name in SOURCES if name in names]


# --- hooks --------------------------------------------------------------------------------------------------------


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "backends(*names): the test is about these backends only")


def pytest_sessionstart() -> None:
    chosen_backends()


def pytest_report_header(config: pytest.Config) -> str:
    """Print the backends that the tests will use; the summary prints those they used."""
    if hasattr(config, "workerinput"):
        return ""
    words = (SOURCES[name].described() if name in SOURCES else name for name in _names(config))
    return "romancy backends: " + ", ".join(words)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "backend" in metafunc.fixturenames:
        marker = metafunc.definition.get_closest_marker("backends")
        names = [name for name in _names(metafunc.config) if marker is None or name in marker.args]
        if marker is not None and not names:
            reason = f"about {', '.join(marker.args)}, which this run is not for"
            metafunc.parametrize(
                "backend", [pytest.param("none", marks=pytest.mark.skip(reason=reason))], indirect=True
            )
        else:
            metafunc.parametrize("backend", names, indirect=True)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print which databases the tests used, and how many tests had none."""
    reports = [
        report for found in terminalreporter.stats.values() for report in found if isinstance(report, pytest.TestReport)
    ]
    used = Counter(
        str(value)
        for report in reports
        if report.when == "call"
        for name, value in report.user_properties
        if name == _USED
    )
    missing = Counter(reason for report in reports if (reason := _unavailable(report)))
    if used or missing:
        terminalreporter.section("romancy backends")
    for backend, count in sorted(used.items()):
        terminalreporter.line(f"{backend}: {count} tests")
    for reason, count in missing.items():
        terminalreporter.line(f"NOT TESTED, {count} tests skipped: {reason}", yellow=True, bold=True)


# --- fixtures -----------------------------------------------------------------------------------------------------


@pytest.fixture
def backend(request: pytest.FixtureRequest) -> str:
    """The backend this test runs on; a test that uses it runs once for each backend."""
    return str(request.param)


@pytest.fixture
def storage_url(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database of this test's own without rows, on the test's backend."""
    given = _given(request.config)
    if given is not None:
        note_backend(request, f"the store at {_without_account(given)}")
        yield given.replace(UNIQUE, uuid4().hex[:12])
        return
    with SOURCES[backend].database(tmp_path, "empty_url" not in request.fixturenames) as (url, words):
        note_backend(request, words)
        yield url


@pytest.fixture
def empty_url(storage_url: str, request: pytest.FixtureRequest) -> str:
    """The same without tables, for a test that cannot use a database that others have used."""
    given = _given(request.config)
    if given is not None and UNIQUE not in given:
        pytest.skip(f"capability: needs an empty database; put {UNIQUE} into --storage-url")
    return storage_url


@pytest.fixture
async def shared_url(storage_url: str) -> str:
    """A database that several processes can use."""
    store = create_store(storage_url)
    await store.open()
    shared = store.capabilities.processes
    await store.close()
    if not shared:
        pytest.skip("capability: a database of this kind lives in one process")
    return storage_url


@pytest.fixture
def has_server(request: pytest.FixtureRequest) -> Callable[[str], bool]:
    """Whether `server_for` can start a server of this backend."""
    given = _given(request.config)
    return lambda backend: given is None and backend in SOURCES and SOURCES[backend].private is not None


@pytest.fixture
def server_for(request: pytest.FixtureRequest, has_server: Callable[[str], bool]) -> Iterator[Callable[[str], Any]]:
    """Start a private server of a backend, to kill and freeze; the suite removes it after the test."""
    with ExitStack() as stack:

        def start(backend: str) -> Any:
            private = SOURCES[backend].private if has_server(backend) else None
            if private is None:
                pytest.skip("capability: there is no server to kill")
            server, words = stack.enter_context(private())
            note_backend(request, words)
            return server

        yield start


@pytest.fixture
def proxy_for() -> Iterator[Callable[[Any], Proxy]]:
    """Put a proxy before the server of a URL, or before a private server; the suite stops it after the test."""
    with ExitStack() as stack:

        def start(target: Any) -> Proxy:
            access = urlsplit(target if isinstance(target, str) else target.access.url())
            return stack.enter_context(Proxy(access.hostname or "127.0.0.1", access.port or 0))

        yield start


def note_backend(request: pytest.FixtureRequest, words: str) -> None:
    """Count this test in the summary."""
    node = cast("pytest.Item", request.node)
    node.user_properties.append((_USED, words))


# --- inside -------------------------------------------------------------------------------------------------------


def _given(config: pytest.Config) -> str | None:
    return cast("str | None", config.getoption("--storage-url"))


def _names(config: pytest.Config) -> list[str]:
    given = _given(config)
    return chosen_backends() if given is None else [urlsplit(given).scheme]


def _without_account(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _unavailable(report: pytest.TestReport) -> str | None:
    if not report.skipped or not isinstance(report.longrepr, tuple):
        return None
    _, found, reason = report.longrepr[2].partition(UNAVAILABLE)
    return reason if found else None
