"""The promises of a private server, tested on a real one of each kind."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from romancy_conformance.servers import AccessError, Kind
from romancy_conformance.servers.access import access_by_url
from romancy_conformance.servers.processes import working_in

if TYPE_CHECKING:
    from romancy_conformance.servers import Server

_DURABILITY: dict[Kind, dict[str, str | int]] = {
    Kind.POSTGRES: {
        "SELECT current_setting('fsync')": "on",
        "SELECT current_setting('synchronous_commit')": "on",
        "SELECT current_setting('full_page_writes')": "on",
    },
    Kind.MYSQL: {
        "SELECT @@innodb_flush_log_at_trx_commit": 1,
        "SELECT @@sync_binlog": 1,
        "SELECT @@innodb_doublewrite": "ON",
        "SELECT @@log_bin": 1,
    },
    Kind.MARIADB: {
        "SELECT @@innodb_flush_log_at_trx_commit": 1,
        "SELECT @@sync_binlog": 1,
        "SELECT @@innodb_doublewrite IN ('ON', '1')": 1,  # a word from 11 on, a number before
    },
}
_PRODUCT = {Kind.POSTGRES: "PostgreSQL 1", Kind.MYSQL: "MySQL 9.", Kind.MARIADB: "MariaDB 1"}
_CONNECTIONS = {Kind.POSTGRES: "SELECT current_setting('max_connections')"}


def _database(server: Server) -> str:
    return server.fresh_database().rpartition("/")[2]


def test_it_is_the_product_it_is_asked_to_be(server: Server) -> None:
    assert server.version.startswith(_PRODUCT[server.kind])
    assert server.version == server.access.version()


def test_it_says_itself_that_it_is_durable(server: Server) -> None:
    wanted = _DURABILITY[server.kind]

    assert wanted == {question: server.access.fetch(question) for question in wanted}


def test_its_temporary_tables_are_its_own(server: Server) -> None:
    """A starting MariaDB deletes those of every server with the same folder, which then report error 6."""
    if server.kind is Kind.POSTGRES:
        assert server.access.fetch("SELECT current_setting('temp_tablespaces')") == ""
        return

    assert server.access.fetch("SELECT @@tmpdir") == str(server.folder / "tmp")


def test_it_lets_hundreds_in(server: Server) -> None:
    question = _CONNECTIONS.get(server.kind, "SELECT @@max_connections")

    assert int(server.access.fetch(question)) >= 300


def test_its_url_opens_the_database_over_tcp(server: Server) -> None:
    access = access_by_url(server.kind, server.fresh_database())

    assert access.socket is None
    assert access.fetch("SELECT 7") == 7


def test_the_password_is_required(server: Server) -> None:
    url = server.fresh_database()
    password = server.access.password

    assert f":{password}@" in url
    with pytest.raises(AccessError):
        access_by_url(server.kind, url.replace(password, "wrong")).fetch("SELECT 1")


def test_a_killed_server_starts_again_at_the_same_place_with_all_that_was_committed(server: Server) -> None:
    access, name = server.access, _database(server)
    access.fetch("CREATE TABLE kept (id INT PRIMARY KEY)", database=name)
    for value in ("(1)", "(2)", "(3)"):
        access.fetch(f"INSERT INTO kept VALUES {value}", database=name)  # noqa: S608

    server.kill()

    assert not server.is_running
    assert working_in(server.folder) == []
    server.start()
    assert server.access == access
    assert access.fetch("SELECT count(*) FROM kept", database=name) == 3


def test_an_orderly_restart_keeps_data_and_place(server: Server) -> None:
    access, name = server.access, _database(server)
    access.fetch("CREATE TABLE kept AS SELECT 5 AS five", database=name)

    server.restart()

    assert server.is_running
    assert server.access == access
    assert access.fetch("SELECT five FROM kept", database=name) == 5


def test_starting_a_running_server_changes_nothing(server: Server) -> None:
    before = working_in(server.folder)[0]

    server.start()

    assert before == working_in(server.folder)[0]


def test_a_frozen_server_accepts_and_is_silent_until_it_is_thawed(server: Server) -> None:
    server.freeze()
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as client:
        client.sendall(b"\x00\x00\x00\x08\x04\xd2\x16\x2f")  # PostgreSQL answers this, MySQL speaks first
        client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.recv(1)

        server.thaw()

        client.settimeout(60)
        assert len(client.recv(1)) == 1
    assert server.access.fetch("SELECT 1") == 1


def test_a_frozen_server_can_be_killed(server: Server) -> None:
    server.freeze()

    server.kill()

    assert working_in(server.folder) == []
    server.start()


def test_databases_are_made_and_dropped_though_they_be_in_use(server: Server) -> None:
    name = "in use"
    server.create_database(name)
    access = access_by_url(server.kind, server.url(name))
    assert access.fetch("SELECT 1") == 1

    server.drop_database(name)

    with pytest.raises(AccessError):
        access.fetch("SELECT 1")
    server.drop_database(name)
