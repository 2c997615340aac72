"""The URL of a MySQL or MariaDB store: every option is checked, and nothing shows the password."""

from __future__ import annotations

import pytest

from romancy.errors import StorageConfigurationError
from romancy.storage.backends import create_store
from romancy.storage.url import parse_url
from romancy_mysql._database import check_durability
from romancy_mysql._settings import Settings, read_settings

URL = "mysql://me:s%40cret@db.example:3307/orders"


def settings(options: str = "", *, url: str = URL) -> Settings:
    return read_settings(parse_url(f"{url}?{options}" if options else url))


def test_a_url_without_options_has_sensible_ones() -> None:
    plain = settings()

    assert (plain.host, plain.port, plain.user, plain.password, plain.database) == (
        "db.example",
        3307,
        "me",
        "s@cret",
        "orders",
    )
    assert (plain.prefix, plain.pool_size, plain.timeout, plain.tls, plain.local) == (
        "romancy_",
        10,
        30.0,
        "prefer",
        False,
    )


def test_a_url_may_name_the_database_alone() -> None:
    plain = settings(url="mariadb:///orders")

    assert (plain.host, plain.port, plain.user, plain.password) == ("localhost", 3306, "", "")


def test_the_password_is_not_shown() -> None:
    plain = settings()

    assert [text for text in (repr(plain), str(plain), plain.where) if "cret" in text] == []


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("mysql://localhost/x", True),
        ("mysql://127.0.0.1/x", True),
        ("mysql://[::1]/x", True),
        ("mysql://db/x?socket=/run/mysqld.sock", True),
        ("mysql://db.example/x", False),
        ("mysql://localhost.example/x", False),
    ],
)
def test_a_server_on_this_machine_counts_as_local(url: str, local: bool) -> None:  # noqa: FBT001 - a column of the table
    assert settings(url=url).local is local


@pytest.mark.parametrize(
    "options",
    [
        "pool_size=2",
        "pool_size=many",
        "pool_size=nan",
        "timeout=0",
        "connect_timeout=-1",
        "idle_timeout=1",
        "pool_timeout=inf",
        "prefix=Orders_",
        "prefix=a;drop",
        "tls=perhaps",
        "tls_key=key.pem",
        "sslmode=require",
    ],
)
def test_a_wrong_option_is_refused_by_its_name(options: str) -> None:
    with pytest.raises(StorageConfigurationError, match=options.partition("=")[0]) as caught:
        settings(options)

    assert "cret" not in str(caught.value)


def test_a_url_must_name_a_database() -> None:
    with pytest.raises(StorageConfigurationError, match="names no database"):
        settings(url="mysql://me@db.example")


@pytest.mark.parametrize("scheme", ["mysql", "mariadb"])
def test_either_scheme_finds_the_store(scheme: str) -> None:
    assert type(create_store(f"{scheme}://me@db.example/orders")).__name__ == "MySQLStore"


@pytest.mark.parametrize("flushes", [0, 2])
def test_a_server_that_does_not_write_at_every_commit_is_refused_unless_the_url_says_so(flushes: int) -> None:
    with pytest.raises(StorageConfigurationError, match=f"innodb_flush_log_at_trx_commit is {flushes} on this server"):
        check_durability(read_settings(parse_url("mysql://me@db.example/orders")), flushes)

    check_durability(read_settings(parse_url("mysql://me@db.example/orders?durability=relaxed")), flushes)


def test_a_server_that_writes_at_every_commit_is_accepted() -> None:
    check_durability(read_settings(parse_url("mysql://me@db.example/orders")), 1)


def test_durability_is_full_or_relaxed() -> None:
    with pytest.raises(StorageConfigurationError, match="is not one of full, relaxed"):
        read_settings(parse_url("mysql://me@db.example/orders?durability=much"))
