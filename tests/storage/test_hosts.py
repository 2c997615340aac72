"""Lists of hosts in a storage URL."""

from __future__ import annotations

import pytest

from romancy.errors import StorageConfigurationError
from romancy.storage.backends import create_store
from romancy.storage.hosts import Host
from romancy.storage.url import parse_url


@pytest.mark.parametrize(
    ("hosts", "read"),
    [
        ("a", [Host("a")]),
        ("a:1", [Host("a", 1)]),
        ("a,b", [Host("a"), Host("b")]),
        ("a:1,b:2,c", [Host("a", 1), Host("b", 2), Host("c")]),
        ("a,b:2", [Host("a"), Host("b", 2)]),
        ("[::1]:1,[fe80::2]", [Host("::1", 1), Host("fe80::2")]),
        ("A.example,b", [Host("a.example"), Host("b")]),
    ],
)
@pytest.mark.parametrize("beginning", ["postgresql://me:p%2Cw@", "mysql://me@", "mariadb+aiomysql://"])
@pytest.mark.parametrize("rest", ["/orders", "/orders?pool_size=3", "/a,b"])
def test_each_host_of_a_list_is_read_with_its_port(beginning: str, hosts: str, rest: str, read: list[Host]) -> None:
    url = parse_url(beginning + hosts + rest)

    assert list(url.hosts) == read
    assert (url.host, url.port) == read[0]
    assert url.database == rest[1:].partition("?")[0]
    assert url.password in (None, "p,w")


def test_the_text_of_a_url_names_every_host_and_no_password() -> None:
    assert str(parse_url("postgresql://me:hunter2@A:1,[::2]:3/orders")) == "postgresql://me:***@a:1,[::2]:3/orders"


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("postgresql://me:hunter2@a,,c/orders", "host 2 of 3 is empty"),
        ("postgresql://me:hunter2@,b/orders", "host 1 of 2 is empty"),
        ("mysql://me:hunter2@a,/orders", "host 2 of 2 is empty"),
        ("mysql://me:hunter2@a,b:x/orders", "host 2 of 2 is malformed"),
        ("mysql://me:hunter2@a,b:70000/orders", "host 2 of 2 is malformed"),
        ("mysql://me:hunter2@a,:3306/orders", "host 2 of 2 is malformed"),
        ("postgresql://me:hunter2@a,[::1/orders", "host 2 of 2 is malformed"),
        ("postgresql://me:hunter2,x/y@a/orders", "malformed; percent-encode"),
        ("sqlite://me:hunter2@a,b/orders.db", "sqlite:// takes no list of hosts"),
        ("sqlite+aiosqlite://a,hunter2/orders.db", "sqlite:// takes no list of hosts"),
    ],
)
def test_a_malformed_list_is_refused_by_the_place_of_the_host(url: str, problem: str) -> None:
    with pytest.raises(StorageConfigurationError) as caught:
        create_store(url)

    assert problem in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("url", ["sqlite:///a,b.db", "memory://a,b", "nosuch://a,b/x"])
def test_a_comma_elsewhere_is_no_list(url: str) -> None:
    assert len(parse_url(url).hosts) < 2
