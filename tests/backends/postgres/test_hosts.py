"""The hosts that a URL, its options or the environment name: with their ports, or refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from romancy.errors import StorageConfigurationError
from romancy.storage.hosts import Host
from romancy.storage.url import parse_url
from romancy_postgres._settings import Settings, read_settings

A, B = Host("a", 1), Host("b", 2)


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGHOST", "PGPORT", "PGTARGETSESSIONATTRS"):
        monkeypatch.delenv(name, raising=False)


def settings(rest: str) -> Settings:
    return read_settings(parse_url(f"postgresql://me:hunter2@{rest}"))


@pytest.mark.parametrize(
    "rest",
    [
        "a:1,b:2/orders",
        "a,b/orders?port=1,2",
        "/orders?host=a,b&port=1,2",
    ],
)
def test_several_hosts_are_read_with_their_ports(rest: str) -> None:
    read = settings(rest)

    assert read.hosts == (A, B)
    assert [read.at(host).connect["port"] for host in read.hosts] == [1, 2]
    assert read.at(B).connect["host"] == "b"
    assert read.at(B).where == "b:2"


@pytest.mark.parametrize(
    ("rest", "host", "port"),
    [
        ("/orders?host=/run/postgresql&port=5433", "/run/postgresql", 5433),
        ("db:5433/orders?host=/run/postgresql", "/run/postgresql", 5433),
        ("/orders?host=/run/postgresql", "/run/postgresql", None),
        ("db/orders?port=5433", "db", 5433),
        ("/orders?port=5433", None, 5433),
        ("/orders", None, None),
    ],
)
def test_one_host_is_no_list(rest: str, host: str | None, port: int | None) -> None:
    read = settings(rest)

    assert (read.hosts, read.connect["host"], read.connect["port"]) == ((), host, port)
    assert read.connect["target_session_attrs"] is None


def test_one_port_is_for_all_hosts() -> None:
    assert settings("a,b/orders?port=7").hosts == (Host("a", 7), Host("b", 7))
    assert settings(":7/orders?host=/one,/two").hosts == (Host("/one", 7), Host("/two", 7))


@pytest.mark.parametrize(
    ("given", "hosts"),
    [
        ({"PGHOST": "a,b", "PGPORT": "1,2"}, (A, B)),
        ({"PGHOST": "a:1,b:2"}, (A, B)),
        ({"PGHOST": "a,/run", "PGPORT": "7"}, (Host("a", 7), Host("/run", 7))),
        ({"PGHOST": "a", "PGPORT": "7"}, ()),
    ],
)
def test_hosts_of_the_environment_are_a_list_too(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], hosts: tuple[Host, ...]
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)

    assert settings("/orders").hosts == hosts
    assert settings("c/orders").hosts == ()


def test_of_several_hosts_the_primary_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    def wanted(rest: str) -> Any:
        return settings(rest).connect["target_session_attrs"]

    assert wanted("a,b/orders") == "primary"
    assert wanted("a,b/orders?target_session_attrs=any") == "any"
    assert wanted("a/orders?target_session_attrs=read-write") == "read-write"
    monkeypatch.setenv("PGTARGETSESSIONATTRS", "read-write")
    assert wanted("a,b/orders") == "read-write"


@pytest.mark.parametrize(
    ("rest", "problem"),
    [
        ("a,b/orders?port=1,2,3", "port='1,2,3' lists 3 ports for 2 hosts"),
        ("a/orders?port=1,2", "port='1,2' lists 2 ports for 1 hosts"),
        ("a,b/orders?port=1,", "port='1,' is neither"),
        ("a,b/orders?port=1,70000", "port='1,70000' is neither"),
        ("a:1,b/orders?port=1,2", "port='1,2' is given beside a port"),
        ("a,b/orders?host=c", "host='c' is given beside the hosts"),
        ("/orders?host=c,,d", "host='c,,d' lists 3 hosts; number 2 is empty"),
        ("a,b/orders?target_session_attrs=main", "target_session_attrs='main' is not known; known are any, primary"),
        ("a,b/orders?target_session_attrs=standby", "target_session_attrs='standby' looks for a server that only"),
    ],
)
def test_what_misfits_is_refused_by_name(rest: str, problem: str) -> None:
    with pytest.raises(StorageConfigurationError) as caught:
        settings(rest)

    assert problem in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("PGHOST", "a,", "PGHOST='a,' lists 2 hosts; number 2 is empty"),
        ("PGPORT", "1,2,3", "PGPORT='1,2,3' lists 3 ports for 2 hosts"),
        ("PGTARGETSESSIONATTRS", "standby", "PGTARGETSESSIONATTRS='standby' looks for a server that only reads"),
    ],
)
def test_what_misfits_in_the_environment_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, problem: str
) -> None:
    monkeypatch.setenv("PGHOST", "a,b")
    monkeypatch.setenv(name, value)

    with pytest.raises(StorageConfigurationError) as caught:
        settings("/orders")

    assert problem in str(caught.value)
