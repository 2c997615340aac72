"""The kind of server, from the version it reports."""

from __future__ import annotations

import pytest

from romancy.errors import StorageConfigurationError
from romancy_mysql._dialect import dialect_of


@pytest.mark.parametrize(
    ("announced", "name"),
    [
        ("9.7.4-2", "MySQL 9.7.4"),
        ("8.0.13", "MySQL 8.0.13"),
        ("8.0.36-28.1", "MySQL 8.0.36"),
        ("5.5.5-10.11.18-MariaDB-0+deb12u1", "MariaDB 10.11.18"),
        ("10.6.0-MariaDB", "MariaDB 10.6.0"),
        ("11.8.2-MariaDB-log", "MariaDB 11.8.2"),
    ],
)
def test_a_server_by_its_version(announced: str, name: str) -> None:
    assert dialect_of(announced, "here").name == name


@pytest.mark.parametrize("announced", ["8.0.12", "5.7.44-log", "5.5.5-10.5.29-MariaDB", "10.5.0-MariaDB", "8.0", "?"])
def test_what_is_too_old_or_unknown_is_refused(announced: str) -> None:
    with pytest.raises(StorageConfigurationError, match="here: "):
        dialect_of(announced, "here")
