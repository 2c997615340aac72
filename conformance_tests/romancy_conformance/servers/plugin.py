"""The pytest plugin: tests run on every chosen backend, on real servers, and the output says which.

Load it with `-p romancy_conformance.servers.plugin`. A test that asks for `storage_url` runs once per backend in
ROMANCY_TEST_BACKENDS (all five by default), each time with an empty database; `@pytest.mark.backends("postgres")`
narrows a test down, `--storage-url` replaces the backends by one store of somebody else's. A server that cannot be
had is an error where CI is set, and elsewhere a skip that the summary counts.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NoReturn, cast
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from .databases import drop_spares, fresh_database, give_back, private_server, shared_server
from .kinds import Kind, ServerUnavailableError
from .programs import find_program, present_program
from .proxy import Proxy
from .run import close_run, current_run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from .server import Server

pytest_plugins = [
    "romancy_conformance.plugin",  # --storage-url, and the report on what it names
    "romancy_conformance.replaying.plugin",  # the counts of what was replayed
]

ALL_BACKENDS = ("memory", "sqlite", *Kind)
UNIQUE = "{unique}"
"""In a given storage URL: what becomes a word of each test's own."""
_USED = "romancy backend"
_UNAVAILABLE = "database unavailable: "


def chosen_backends() -> list[str]:
    """The backends this run is for, from ROMANCY_TEST_BACKENDS."""
    text = os.environ.get("ROMANCY_TEST_BACKENDS", "")
    names = [name.strip() for name in text.split(",") if name.strip()] or list(ALL_BACKENDS)
    if unknown := sorted(set(names) - set(ALL_BACKENDS)):
        raise pytest.UsageError(
            f"ROMANCY_TEST_BACKENDS: no backend {unknown[0]!r}; known are {', '.join(ALL_BACKENDS)}"
        )
    return [name for name in ALL_BACKENDS if name in names]


# --- hooks --------------------------------------------------------------------------------------------------------


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "backends(*names): the test is about these backends only")
    chosen_backends()


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Own the run before the workers of a distributed session start, so that they join it."""
    if session.config.pluginmanager.has_plugin("dsession") and set(chosen_backends()) & set(Kind):
        try:
            current_run()
        except ServerUnavailableError:
            return  # each test that needs a server meets the same and says so


def pytest_unconfigure() -> None:
    drop_spares()
    close_run()


def pytest_report_header(config: pytest.Config) -> str:
    """What the tests will run on; the summary says what they did run on."""
    if hasattr(config, "workerinput"):
        return ""
    return "romancy backends: " + ", ".join(_described(name) for name in _names(config))


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


def pytest_collection_finish(session: pytest.Session) -> None:
    """Install what the collected tests need, outside of their time limits, and begin to start it."""
    if session.config.option.collectonly:
        return
    shared = {kind for item in session.items if (kind := _shared_kind(item))}
    private = {kind for item in session.items for kind in _private_kinds(item)}
    wanted = [kind for kind in Kind if kind in shared | private and kind.url_variable not in os.environ]
    if wanted:
        with ThreadPoolExecutor(len(wanted)) as threads:
            list(threads.map(_quietly(find_program), wanted))
    for kind in shared:
        threading.Thread(target=_quietly(shared_server), args=(kind,), daemon=True).start()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which servers were really used, and what was not tested for want of one."""
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
    """The backend this test runs on; asking for it makes a test run once for each."""
    return str(request.param)


@pytest.fixture
def storage_url(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database of this test's own, on the backend it runs on."""
    given = cast("str | None", request.config.getoption("--storage-url"))
    if given is not None:
        _note(request, f"the store at {_without_account(given)}")
        yield given.replace(UNIQUE, uuid4().hex[:12])
    elif backend == "memory":
        _note(request, "memory")
        yield f"memory://{uuid4().hex}"
    elif backend == "sqlite":
        _note(request, f"sqlite: SQLite {sqlite3.sqlite_version}")
        yield f"sqlite:///{tmp_path / 'romancy.db'}"
    else:
        try:
            server, url = shared_server(backend), fresh_database(backend)
        except ServerUnavailableError as error:
            do_without(backend, error)
        _note(request, f"{backend}: {server}")
        yield url
        give_back(backend, url)


@pytest.fixture
def empty_url(storage_url: str, request: pytest.FixtureRequest) -> str:
    """The same, for a test that cannot do with a database that others have used."""
    given = cast("str | None", request.config.getoption("--storage-url"))
    if given is not None and UNIQUE not in given:
        pytest.skip(f"capability: needs an empty database; put {UNIQUE} into --storage-url")
    return storage_url


@pytest.fixture
def server_for(request: pytest.FixtureRequest) -> Iterator[Callable[[str], Server]]:
    """Start a private server of a kind, to kill and freeze; it is gone after the test."""
    with ExitStack() as stack:

        def start(kind: str) -> Server:
            try:
                server = private_server(kind)
                stack.callback(server.close)
                server.start()
            except ServerUnavailableError as error:
                do_without(kind, error)
            _note(request, f"{kind}: {server.version}, private, {server.program.origin}")
            return server

        yield start


@pytest.fixture
def postgres_server(server_for: Callable[[str], Server]) -> Server:
    """A private PostgreSQL server."""
    return server_for(Kind.POSTGRES)


@pytest.fixture
def mysql_server(server_for: Callable[[str], Server]) -> Server:
    """A private MySQL server."""
    return server_for(Kind.MYSQL)


@pytest.fixture
def mariadb_server(server_for: Callable[[str], Server]) -> Server:
    """A private MariaDB server."""
    return server_for(Kind.MARIADB)


@pytest.fixture
def proxy_for() -> Iterator[Callable[[str | Server], Proxy]]:
    """Put a proxy before the server of a URL, or before a private server; it is gone after the test."""
    with ExitStack() as stack:

        def start(target: str | Server) -> Proxy:
            access = urlsplit(target) if isinstance(target, str) else urlsplit(target.access.url())
            return stack.enter_context(Proxy(access.hostname or "127.0.0.1", access.port or 0))

        yield start


# --- inside -------------------------------------------------------------------------------------------------------


def _names(config: pytest.Config) -> list[str]:
    given = cast("str | None", config.getoption("--storage-url"))
    return chosen_backends() if given is None else [urlsplit(given).scheme]


def _without_account(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _described(backend: str) -> str:
    if backend == "sqlite":
        return f"sqlite {sqlite3.sqlite_version}"
    kind = next((kind for kind in Kind if kind == backend), None)
    if kind is None:
        return backend
    if kind.url_variable in os.environ:
        return f"{backend} named by {kind.url_variable}"
    program = present_program(kind)
    return f"{backend} {program.version}, {program.origin}" if program else f"{backend} to be installed"


def _note(request: pytest.FixtureRequest, backend: str) -> None:
    node = cast("pytest.Item", request.node)
    node.user_properties.append((_USED, backend))


def do_without(kind: str, error: ServerUnavailableError) -> NoReturn:
    if os.environ.get("CI", "").lower() in {"1", "true"}:
        pytest.fail(f"{_UNAVAILABLE}{kind}: {error}", pytrace=False)
    pytest.skip(f"{_UNAVAILABLE}{kind}: {error}")


def _unavailable(report: pytest.TestReport) -> str | None:
    if not report.skipped or not isinstance(report.longrepr, tuple):
        return None
    _, found, reason = report.longrepr[2].partition(_UNAVAILABLE)
    return reason if found else None


def _shared_kind(item: pytest.Item) -> Kind | None:
    call: Any = getattr(item, "callspec", None)  # what a parametrised test has
    backend = None if call is None else call.params.get("backend")
    return next((kind for kind in Kind if kind == backend), None)


def _private_kinds(item: pytest.Item) -> set[Kind]:
    fixtures: list[str] = getattr(item, "fixturenames", [])
    return {kind for kind in Kind if f"{kind}_server" in fixtures}


def _quietly(action: Callable[[Kind], object]) -> Callable[[Kind], None]:
    """`action` ahead of time: what cannot be had is reported by the test that needs it."""

    def run(kind: Kind) -> None:
        try:
            action(kind)
        except ServerUnavailableError:
            return

    return run
