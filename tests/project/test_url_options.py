"""The guide describes exactly the URL options that the adapters accept."""

from __future__ import annotations

import re

import pytest

from romancy.errors import StorageConfigurationError
from romancy.storage.backends import create_store
from tools.tree import ROOT

PAGE = (ROOT / "docs/guide/database.md").read_text("utf-8").partition("## The URL and its options")[2]
EVERYWHERE = {"prefix"}


@pytest.mark.parametrize(
    ("section", "url"),
    [
        ("SQLite", "sqlite:///shop.db"),
        ("PostgreSQL", "postgresql://me@localhost/shop"),
        ("MySQL", "mysql://me@localhost/shop"),
        ("MySQL", "mariadb://me@localhost/shop"),
    ],
)
def test_the_guide_describes_every_option_and_no_other(section: str, url: str) -> None:
    with pytest.raises(StorageConfigurationError, match="known are") as refused:
        create_store(f"{url}?no_such_option=1")
    known = re.findall(r"\w+", str(refused.value).partition("known are ")[2])

    described = re.split(r"^(?:\*\*|#)", PAGE.partition(f"**{section}**")[2], maxsplit=1, flags=re.MULTILINE)[0]
    rows = re.findall(r"^\| (`.*?) \|", described, re.MULTILINE)

    assert EVERYWHERE | {option for row in rows for option in re.findall(r"`(\w+)`", row)} == set(known)
