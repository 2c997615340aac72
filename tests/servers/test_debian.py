"""How the machine's own apt source is turned into a private one for another suite."""

from __future__ import annotations

import pytest

from romancy_conformance.servers.debian import deb822_source, one_line_source

_SOURCE = """\
Types: deb deb-src
# the nearest one
URIs: http://archive.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/archive.gpg
"""


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("deb http://archive.example/debian bookworm main", "deb http://archive.example/debian sid main\n"),
        (
            "deb  [signed-by=/k.gpg arch=amd64]  http://archive.example/debian\tbookworm main contrib",
            "deb [signed-by=/k.gpg arch=amd64]  http://archive.example/debian sid main\n",
        ),
        ("deb http://archive.example/debian bookworm-security main", None),
        ("deb http://other.example/tool bookworm stable", None),
        ("deb-src http://archive.example/debian bookworm main", None),
        ("# deb http://archive.example/debian bookworm main", None),
        ("", None),
    ],
)
def test_one_line_format(line: str, expected: str | None) -> None:
    assert expected == one_line_source(line, "bookworm", "sid")


def test_deb822_format() -> None:
    assert deb822_source(_SOURCE, "bookworm", "sid") == (
        "Types: deb\n"
        "URIs: http://archive.example/debian\n"
        "Suites: sid\n"
        "Components: main\n"
        "Signed-By: /usr/share/keyrings/archive.gpg\n"
    )


def test_a_key_within_the_source_stays_in_it() -> None:
    key = "Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mDMEX\n -----END PGP PUBLIC KEY BLOCK-----"
    source = _SOURCE.replace("Signed-By: /usr/share/keyrings/archive.gpg", key)

    assert key in (deb822_source(source, "bookworm", "sid") or "")


@pytest.mark.parametrize(
    "changed",
    [
        _SOURCE.replace("bookworm bookworm-updates", "bookworm-security"),
        _SOURCE.replace("main contrib", "stable"),
        _SOURCE.replace("deb deb-src", "deb-src"),
        _SOURCE + "Enabled: no\n",
        "",
    ],
)
def test_other_sources_are_left_alone(changed: str) -> None:
    assert deb822_source(changed, "bookworm", "sid") is None
