"""The URL for each kind of `DATABASES`, and what a URL cannot say."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from romancy import UsageError
from romancy.ext.django._url import url_of
from romancy.storage.url import parse_url

TLS = {"sslmode": "require"}


def url(vendor: str, **settings: Any) -> str:
    given: Any = SimpleNamespace(vendor=vendor, display_name=vendor, alias="default", settings_dict=settings)
    return url_of(given)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (url("sqlite", NAME="/var/lib/my shop.db"), "sqlite:////var/lib/my%20shop.db"),
        (url("postgresql", NAME="shop", USER="", PASSWORD="", HOST="", PORT=""), "postgresql:///shop"),
        (
            url("postgresql", NAME="shop", USER="a:n", PASSWORD="p@/?", HOST="db", PORT=1, OPTIONS=TLS),
            "postgresql://a%3An:p%40%2F%3F@db:1/shop?sslmode=require",
        ),
        (url("postgresql", NAME="s", HOST="/var/run/pg", OPTIONS={"pool": True}), "postgresql:///s?host=%2Fvar%2Frun%2Fpg"),
        (url("postgresql", NAME="s", HOST="a,b", PORT="1,2", OPTIONS={"target_session_attrs": "read-write"}), "postgresql:///s?target_session_attrs=read-write&host=a%2Cb&port=1%2C2"),
        (url("postgresql", NAME="s", USER="a", HOST="::1"), "postgresql://a@[::1]/s"),
        (url("mysql", NAME="s", USER="a", HOST="/run/my.sock", OPTIONS={"charset": "utf8mb4"}), "mysql://a@/s?socket=%2Frun%2Fmy.sock"),
        (url("mysql", NAME="s", OPTIONS={"ssl_mode": "REQUIRED"}), "mysql:///s?tls=require"),
        (url("mysql", NAME="s", OPTIONS={"ssl": {"ca": "/ca.pem"}}), "mysql:///s?tls=verify&tls_ca=%2Fca.pem"),
    ],
)  # fmt: skip
def test_the_same_database(given: str, expected: str) -> None:
    assert given == expected
    assert parse_url(given).original == expected


@pytest.mark.parametrize(
    ("vendor", "settings", "told"),
    [
        ("sqlite", {"NAME": ":memory:"}, "a file"),
        ("sqlite", {"NAME": "file:memorydb_default?mode=memory&cache=shared"}, "TEST"),
        ("postgresql", {"NAME": "s", "OPTIONS": {"service": "shop"}}, "'service'"),
        ("postgresql", {"NAME": "s", "OPTIONS": {"options": "-c search_path=shop"}}, "'options'"),
        ("mysql", {"NAME": "s", "OPTIONS": {"read_default_file": "/my.cnf"}}, "'read_default_file'"),
        ("oracle", {"NAME": "s"}, "does not run"),
    ],
)
def test_what_a_url_cannot_say(vendor: str, settings: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        url(vendor, **settings)
