"""How a test gets a database: shared servers, empty databases, servers that the environment names."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import defaultdict, deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from romancy_conformance.servers import (
    AccessError,
    Kind,
    ServerUnavailableError,
    databases,
    fresh_database,
    give_back,
    migrated_database,
    private_server,
    shared_server,
)
from romancy_conformance.servers.access import access_by_url
from romancy_conformance.servers.plugin import do_without
from romancy_conformance.servers.run import RUN_VARIABLE
from romancy_conformance.stores import chosen_backends

if TYPE_CHECKING:
    from romancy_conformance.servers import Access

_TABLES = {
    Kind.POSTGRES: "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'",
    Kind.MYSQL: "SELECT count(*) FROM information_schema.tables WHERE table_schema = database()",
    Kind.MARIADB: "SELECT count(*) FROM information_schema.tables WHERE table_schema = database()",
}


@pytest.fixture(params=[kind for kind in Kind if kind in chosen_backends()])
def kind(request: pytest.FixtureRequest) -> Kind:
    """A kind whose shared server is available."""
    kind = Kind(request.param)
    try:
        shared_server(kind)
    except ServerUnavailableError as error:
        do_without(kind, error)
    return kind


def _name(url: str) -> str:
    return url.rpartition("/")[2]


def _administration(kind: Kind) -> Access:
    return shared_server(kind).access


def test_fresh_databases_are_empty_and_apart(kind: Kind) -> None:
    first, second = fresh_database(kind), fresh_database(kind)
    _administration(kind).fetch("CREATE TABLE t (id INT PRIMARY KEY)", database=_name(first))

    assert first != second
    assert _administration(kind).fetch(_TABLES[kind], database=_name(first)) == 1
    assert _administration(kind).fetch(_TABLES[kind], database=_name(second)) == 0
    give_back(kind, first)
    give_back(kind, second)


def test_a_database_given_back_comes_out_empty_again(kind: Kind) -> None:
    url = fresh_database(kind)
    _administration(kind).fetch("CREATE TABLE t (id INT PRIMARY KEY)", database=_name(url))

    give_back(kind, url)

    again = fresh_database(kind)
    assert url != again
    assert _administration(kind).fetch(_TABLES[kind], database=_name(again)) == 0
    _administration(kind).fetch("CREATE TABLE t (id INT PRIMARY KEY)", database=_name(again))
    give_back(kind, again)


_ROW = "INSERT INTO romancy_seen (unit, life, dedupe, at) VALUES ('e/old', 0, '{}', 0)"
_ROWS = "SELECT count(*) FROM romancy_seen"


def test_a_migrated_database_given_back_keeps_its_tables_alone(kind: Kind) -> None:
    access, url = _administration(kind), migrated_database(kind)
    tables = access.fetch(_TABLES[kind], database=_name(url))
    access.fetch(_ROW.format(1), database=_name(url))
    access.fetch("CREATE TABLE t (id INT PRIMARY KEY)", database=_name(url))

    assert access.wipe(_name(url), access.schema(_name(migrated_database(kind))))

    assert access.fetch(_TABLES[kind], database=_name(url)) == tables
    assert access.fetch(_ROWS, database=_name(url)) == 0
    access.drop_database(_name(url))


@pytest.mark.parametrize(
    "change",
    [
        "CREATE INDEX one_more ON romancy_workers (beat_at)",
        "ALTER TABLE romancy_workers ADD COLUMN one_more INT",
        "UPDATE romancy_schema SET version = version + 1000",
        "DROP VIEW romancy_events",
    ],
)
def test_a_database_whose_tables_were_changed_is_not_used_again(kind: Kind, change: str) -> None:
    access, url = _administration(kind), migrated_database(kind)
    schema = access.schema(_name(url))
    access.fetch(change, database=_name(url))

    assert not access.wipe(_name(url), schema)
    give_back(kind, url)
    again = migrated_database(kind)
    assert access.schema(_name(again)) == schema
    give_back(kind, again)


def test_a_database_whose_view_was_made_anew_is_not_used_again(kind: Kind) -> None:
    access, url = _administration(kind), migrated_database(kind)
    schema = access.schema(_name(url))
    access.fetch("DROP VIEW romancy_events", database=_name(url))
    access.fetch("CREATE VIEW romancy_events AS SELECT 1 AS one", database=_name(url))

    assert not access.wipe(_name(url), schema)
    give_back(kind, url)


def test_a_database_with_many_rows_is_not_used_again(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("romancy_conformance.servers.access.MOST_ROWS", 2)
    access, url = _administration(kind), migrated_database(kind)
    for number in range(3):
        access.fetch(_ROW.format(number), database=_name(url))

    assert not access.wipe(_name(url), access.schema(_name(url)))
    give_back(kind, url)


def test_a_database_that_somebody_came_back_to_is_not_used_again(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    url = migrated_database(kind)
    with monkeypatch.context() as alone:
        alone.setattr(
            databases, "_migrated", defaultdict[Any, deque[str]](deque)
        )  # what other tests gave back would come first
        give_back(kind, url)

        with _open_transaction(url) as session:
            again = migrated_database(kind)

            assert again != url
            assert session.wait(60) != 0
    give_back(kind, again)


def test_a_database_with_a_transaction_open_can_be_given_back(kind: Kind) -> None:
    url = fresh_database(kind)
    with _open_transaction(url) as session:
        give_back(kind, url)

        assert session.wait(60) != 0


_SETTINGS = """
    SELECT count(*) FROM pg_db_role_setting
    WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


@pytest.mark.skipif(Kind.POSTGRES not in chosen_backends(), reason="this run is not for PostgreSQL")
def test_giving_back_undoes_schemas_and_settings() -> None:
    access, url = _administration(Kind.POSTGRES), fresh_database(Kind.POSTGRES)
    name = _name(url)
    access.fetch("CREATE SCHEMA other", database=name)
    access.fetch(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    oid = access.fetch("SELECT oid FROM pg_database WHERE datname = current_database()", database=name)
    assert access.fetch(_SETTINGS, database=name) == 1

    give_back(Kind.POSTGRES, url)

    name = _name(fresh_database(Kind.POSTGRES))
    assert oid == access.fetch("SELECT oid FROM pg_database WHERE datname = current_database()", database=name)
    assert access.fetch("SELECT count(*) FROM pg_namespace WHERE nspname = 'other'", database=name) == 0
    assert access.fetch(_SETTINGS, database=name) == 0


_SESSIONS = {
    "postgresql": """
import asyncio, asyncpg, sys
async def main():
    connection = await asyncpg.connect(sys.argv[1])
    await connection.execute('BEGIN; CREATE TABLE held (id INT)')
    print('held', flush=True)
    await connection.execute('SELECT pg_sleep(60)')
asyncio.run(main())
""",
    "mysql": """
import pymysql, sys
from urllib.parse import urlsplit
url = urlsplit(sys.argv[1])
connection = pymysql.connect(
    host=url.hostname, port=url.port, user=url.username, password=url.password, database=url.path[1:]
)
cursor = connection.cursor()
cursor.execute('CREATE TABLE held (id INT)')
cursor.execute('BEGIN')
cursor.execute('INSERT INTO held VALUES (1)')
print('held', flush=True)
cursor.execute('DO SLEEP(60)')
""",
}


def _open_transaction(url: str) -> subprocess.Popen[bytes]:
    """Start a process with an open transaction that holds a lock; it fails when its connection is ended."""
    code = _SESSIONS["postgresql" if url.startswith("postgresql:") else "mysql"]
    process = subprocess.Popen([sys.executable, "-c", code, url], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    return process


def test_a_child_process_uses_the_servers_of_its_parent(kind: Kind) -> None:
    code = (
        "import json, sys; from romancy_conformance.servers import shared_server\n"
        "shared = shared_server(sys.argv[1]); print(json.dumps([shared.access.url(), str(shared)]))"
    )

    said = subprocess.run([sys.executable, "-c", code, kind], check=True, capture_output=True, text=True).stdout

    assert json.loads(said) == [_administration(kind).url(), str(shared_server(kind))]


def test_a_server_named_by_the_environment_is_used_but_not_maltreated(
    kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = fresh_database(kind)
    monkeypatch.setenv(kind.url_variable, named)

    url = fresh_database(kind)

    assert access_by_url(kind, url).fetch("SELECT 1") == 1
    assert kind.url_variable in str(shared_server(kind))
    with pytest.raises(ServerUnavailableError, match=kind.url_variable):
        private_server(kind)
    give_back(kind, url)


def test_a_named_server_that_does_not_answer_is_said_to_be_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(Kind.MYSQL.url_variable, "mysql://somebody:secret@127.0.0.1:1/none")

    with pytest.raises(ServerUnavailableError, match=Kind.MYSQL.url_variable) as caught:
        fresh_database(Kind.MYSQL)

    assert "secret" not in str(caught.value)


def test_a_statement_the_server_refuses_is_an_access_error(kind: Kind) -> None:
    with pytest.raises(AccessError):
        _administration(kind).fetch("SELEC 1")


def test_nothing_of_a_run_lies_open_to_other_users(kind: Kind) -> None:
    shared_server(kind)

    folder = Path(os.environ[RUN_VARIABLE])

    assert folder.stat().st_mode & 0o077 == 0o011
    assert folder.parent.stat().st_mode & 0o077 == 0o011


def test_a_database_whose_rows_were_counted_is_not_used_again(kind: Kind) -> None:
    """A table that was vacuumed empty has other plans than one that nobody has looked at."""
    if kind is not Kind.POSTGRES:
        pytest.skip("capability: counts rows of its own accord, whatever a test does")
    access, url = _administration(kind), migrated_database(kind)
    schema = access.schema(_name(url))
    access.fetch("VACUUM romancy_inbox", database=_name(url))

    assert not access.wipe(_name(url), schema)
    give_back(kind, url)


@pytest.mark.skipif(Kind.POSTGRES not in chosen_backends(), reason="this run is not for PostgreSQL")
def test_a_table_with_many_pages_gets_new_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("romancy_conformance.servers.access.MOST_PAGES", 0)
    access, url = _administration(Kind.POSTGRES), migrated_database(Kind.POSTGRES)
    access.fetch(_ROW.format(1), database=_name(url))

    assert access.wipe(_name(url), access.schema(_name(url)))

    assert access.fetch("SELECT pg_relation_size('romancy_seen')", database=_name(url)) == 0
    access.drop_database(_name(url))


_WITHOUT_NOT_NULL = {
    Kind.POSTGRES: "ALTER TABLE romancy_workers ALTER COLUMN beat_at DROP NOT NULL",
    Kind.MYSQL: "ALTER TABLE romancy_workers MODIFY beat_at BIGINT NULL",
    Kind.MARIADB: "ALTER TABLE romancy_workers MODIFY beat_at BIGINT NULL",
}


def test_tables_that_were_changed_after_they_were_found_right_are_noticed(kind: Kind) -> None:
    """The second time, the number of changes to definitions replaces the comparison of all definitions."""
    access, url = _administration(kind), migrated_database(kind)
    schema = access.schema(_name(url))
    assert access.wipe(_name(url), schema)
    assert access.wipe(_name(url), schema)
    access.fetch(_WITHOUT_NOT_NULL[kind], database=_name(url))

    assert not access.wipe(_name(url), schema)
    assert not access.wipe(_name(url), schema)
    access.drop_database(_name(url))


def test_a_version_written_after_the_tables_were_found_right_is_noticed(kind: Kind) -> None:
    access, url = _administration(kind), migrated_database(kind)
    schema = access.schema(_name(url))
    assert access.wipe(_name(url), schema)
    access.fetch("UPDATE romancy_schema SET version = version + 1000", database=_name(url))

    assert not access.wipe(_name(url), schema)
    access.drop_database(_name(url))
