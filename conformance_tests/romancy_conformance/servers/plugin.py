"""The pytest plugin of our own tree: the databases that need a server, beside memory and SQLite.

Load it with `-p romancy_conformance.servers.plugin`. It is not in the wheel. An unavailable server is an error where CI
is set, and elsewhere a skip that the summary counts.
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from romancy_conformance.stores import SOURCES, UNAVAILABLE, Source, chosen_backends

from . import poolers, tenants
from .databases import drop_spares, fresh_database, give_back, migrated_database, private_server, shared_server
from .kinds import Kind, ServerUnavailableError
from .programs import find_program, present_program
from .run import close_run, current_run

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from .server import Server

pytest_plugins = ["romancy_conformance.stores"]


@contextmanager
def _on_server(kind: Kind, folder: Path, migrated: bool) -> Generator[tuple[str, str]]:  # noqa: FBT001 - see `Source`
    try:
        server, url = shared_server(kind), (migrated_database if migrated else fresh_database)(kind)
    except ServerUnavailableError as error:
        do_without(kind, error)
    yield url, f"{kind}: {server}"
    give_back(kind, url)


@contextmanager
def _private(kind: Kind) -> Generator[tuple[Server, str]]:
    try:
        server = private_server(kind)
    except ServerUnavailableError as error:
        do_without(kind, error)
    try:
        server.start()
        yield server, f"{kind}: {server.version}, private, {server.program.origin}"
    except ServerUnavailableError as error:
        do_without(kind, error)
    finally:
        server.close()


def _described(kind: Kind) -> str:
    if kind.url_variable in os.environ:
        return f"{kind} named by {kind.url_variable}"
    program = present_program(kind)
    return f"{kind} {program.version}, {program.origin}" if program else f"{kind} to be installed"


@contextmanager
def _behind_pooler(folder: Path, migrated: bool) -> Generator[tuple[str, str]]:  # noqa: FBT001 - see `Source`
    with _on_server(Kind.POSTGRES, folder, migrated) as (url, words):
        try:
            pooler = poolers.of_this_process(shared_server(Kind.POSTGRES).access)
        except ServerUnavailableError as error:
            do_without("pgbouncer", error)
        yield f"{poolers.let_in(pooler.url(url))}?pooler=transaction", f"{pooler} before {words}"


SOURCES.update(
    {
        kind.value: Source(
            partial(_on_server, kind), partial(_described, kind), partial(_private, kind), by_name=kind.built
        )
        for kind in Kind
    }
)


@contextmanager
def _in_a_schema_of_citus(folder: Path, migrated: bool) -> Generator[tuple[str, str]]:  # noqa: FBT001 - see `Source`
    try:
        url = tenants.migrated_schema() if migrated else tenants.fresh_schema()
    except ServerUnavailableError as error:
        do_without("citus", error)
    yield url, "citus: a schema on one of two nodes"
    tenants.give_back(url, migrated=migrated)


SOURCES["citus"] = Source(_in_a_schema_of_citus, lambda: "a schema of Citus", by_name=True)
SOURCES["pgbouncer"] = Source(_behind_pooler, lambda: "PgBouncer before PostgreSQL", by_name=True)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Own the run before the workers of a distributed session start, so that they join it."""
    if session.config.pluginmanager.has_plugin("dsession") and set(chosen_backends()) & set(Kind):
        try:
            current_run()
        except ServerUnavailableError:
            return  # each test that needs a server meets and reports the same
    if session.config.pluginmanager.has_plugin("dsession") and "citus" in chosen_backends():
        with suppress(ServerUnavailableError):
            tenants.coordinator()


def pytest_unconfigure() -> None:
    poolers.close()
    tenants.close()
    drop_spares()
    close_run()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Install the servers that the collected tests need, outside their time limits, and begin to start them."""
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


def do_without(kind: str, error: ServerUnavailableError) -> NoReturn:
    if os.environ.get("CI", "").lower() in {"1", "true"}:
        pytest.fail(f"{UNAVAILABLE}{kind}: {error}", pytrace=False)
    pytest.skip(f"{UNAVAILABLE}{kind}: {error}")


def _shared_kind(item: pytest.Item) -> Kind | None:
    call: Any = getattr(item, "callspec", None)  # set on a parametrised test
    backend = None if call is None else call.params.get("backend")
    return next((kind for kind in Kind if kind == backend), None)


def _private_kinds(item: pytest.Item) -> set[Kind]:
    fixtures: list[str] = getattr(item, "fixturenames", [])
    return {kind for kind in Kind if f"{kind}_server" in fixtures}


def _quietly(action: Callable[[Kind], object]) -> Callable[[Kind], None]:
    """Run `action` in advance; a test that needs a server reports its error."""

    def run(kind: Kind) -> None:
        try:
            action(kind)
        except ServerUnavailableError:
            return

    return run
