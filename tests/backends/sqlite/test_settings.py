"""The options of a sqlite:// URL."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from romancy.errors import StorageConfigurationError
from romancy.storage.url import parse_url
from romancy_sqlite._settings import read_settings

if sys.platform == "win32":
    DRIVES = ["sqlite:///C:/data/orders.db", r"sqlite:///C:\data\orders.db"]
    FORMS = [(url, Path("C:/data/orders.db")) for url in DRIVES]
else:
    FORMS = [("sqlite:///file:odd?lock_timeout=5", Path.cwd() / "file:odd")]


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///orders.db", Path.cwd() / "orders.db"),
        ("sqlite:///data/orders.db", Path.cwd() / "data" / "orders.db"),
        ("sqlite:////var/lib/orders.db", Path("/var/lib/orders.db").absolute()),
        ("sqlite:////var/lib/a%20b%3F%23%25.db", Path("/var/lib/a b?#%.db").absolute()),
        ("sqlite:////var/lib/größe-😀.db", Path("/var/lib/größe-😀.db").absolute()),
        *FORMS,
    ],
)
def test_three_slashes_are_relative_and_four_absolute(url: str, path: Path) -> None:
    assert path == read_settings(parse_url(url)).path


@pytest.mark.parametrize("name", ["NUL", "folder/con.db", "COM1"])
def test_the_name_of_a_device_is_refused_on_windows(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("romancy_sqlite._settings._ON_WINDOWS", True)
    with pytest.raises(StorageConfigurationError, match="reserves this name for a device"):
        read_settings(parse_url(f"sqlite:///{name}"))


def test_a_relative_path_is_fixed_when_the_store_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = read_settings(parse_url("sqlite:///orders.db"))
    monkeypatch.chdir("/")

    assert tmp_path / "orders.db" == settings.path


def test_options_have_defaults_and_are_read() -> None:
    plain = read_settings(parse_url("sqlite:///x.db"))
    given = read_settings(parse_url("sqlite:///x.db?prefix=shop_&lock_timeout=2.5&session_limit=1"))

    assert (plain.prefix, plain.lock_timeout, plain.session_limit) == ("romancy_", 60.0, 30.0)
    assert (given.prefix, given.lock_timeout, given.session_limit) == ("shop_", 2.5, 1.0)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("sqlite://orders.db", "three slashes"),
        ("sqlite://Z:/orders.db", r"drive of Windows \(sqlite:///C:/data/orders.db\)"),
        (r"sqlite://C:\data\orders.db", "three slashes before it, as in sqlite:///C:/data/orders.db"),
        ("sqlite://user:secret@host/orders.db", "three slashes"),
        ("sqlite:///", "memory://"),
        ("sqlite:///:memory:", "memory://"),
        ("sqlite:///a%00b.db", "NUL"),
        ("sqlite:///x.db?timeout=5", "unknown option 'timeout'"),
        ("sqlite:///x.db?lock_timeout=soon", "is not a number from"),
        ("sqlite:///x.db?lock_timeout=0", "is not a number from"),
        ("sqlite:///x.db?session_limit=inf", "is not a number from"),
        ("sqlite:///x.db?session_limit=nan", "is not a number from"),
        ("sqlite:///x.db?prefix=a-b", "table prefix"),
    ],
)
def test_a_wrong_url_is_refused_without_its_secrets(url: str, words: str) -> None:
    with pytest.raises(StorageConfigurationError, match=words) as caught:
        read_settings(parse_url(url))

    assert "secret" not in str(caught.value)
