"""The Pythons that the environment names are taken first, and an unavailable one says why."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from romancy_conformance.servers import debian
from romancy_conformance.servers.kinds import ServerUnavailableError
from tests.core import interpreters
from tests.core.interpreters import Interpreter, this_one
from tools.machines.interpreters import NoPythonError, oldest_and_newest

UNKNOWN = "3.99"


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No Python on the PATH, of pyenv or of Debian; fetched packages go elsewhere."""

    def unpack(package: str, suite: str) -> Path:
        raise ServerUnavailableError(f"no {package} in {suite}")

    monkeypatch.setattr(debian, "unpack", unpack)
    monkeypatch.setattr(interpreters, "ROOT", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    monkeypatch.setenv("ROMANCY_PYTHONS", "")


def look(version: str) -> Interpreter:
    return interpreters.other.__wrapped__(version)


def stand_in(folder: Path, version: str) -> str:
    """Write a Python that claims to be of that version and cannot install anything."""
    script = folder / "stand-in"
    script.write_text(f'#!/bin/sh\n[ "$1" = -c ] && echo {version} || exit 1\n')
    script.chmod(0o755)
    return str(script)


def test_one_that_is_nowhere_says_so() -> None:
    assert look(UNKNOWN) == Interpreter(
        UNKNOWN, missing=f"python{UNKNOWN} cannot be had: no python{UNKNOWN}-venv in sid"
    )


def test_those_that_are_named_are_asked_for_their_version(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    named = [str(tmp_path / "not there"), stand_in(tmp_path, "3.98.1"), this_one().executable]
    monkeypatch.setenv("ROMANCY_PYTHONS", os.pathsep.join(named))

    def fetch(executable: str, folder: Path) -> None:
        (folder / "from").write_text(executable)

    monkeypatch.setattr(interpreters, "_fetch", fetch)

    found = look("3.98")

    assert (found.executable, found.exact, found.missing) == (named[1], "3.98.1", "")
    assert Path(found.packages, "from").read_text() == named[1]
    assert "cannot be had" in look(UNKNOWN).missing


def test_one_for_which_nothing_can_be_fetched_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ROMANCY_PYTHONS", stand_in(tmp_path, f"{UNKNOWN}.0"))

    assert look(UNKNOWN).missing.startswith(f"python{UNKNOWN} cannot be had")
    assert not look(UNKNOWN).executable


def test_this_one_needs_nothing() -> None:
    assert look(this_one().version) == this_one()


def test_the_oldest_and_the_newest_patch_release_are_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    named: list[str] = []
    for exact in ("3.98.9", "3.98.10", "3.98.2", "3.98.11t"):
        folder = tmp_path / exact
        folder.mkdir()
        named.append(stand_in(folder, exact))
    monkeypatch.setenv("ROMANCY_PYTHONS", os.pathsep.join(named))

    assert ["3.98.2", "3.98.10"] == [found.exact for found in oldest_and_newest("3.98")]
    assert ["3.98.9"] == [found.exact for found in oldest_and_newest("3.98.9")]
    assert ["3.98.11t"] == [found.exact for found in oldest_and_newest("3.98t")]
    with pytest.raises(NoPythonError, match=r"python3\.97 cannot be had: no python3\.97-venv in sid"):
        oldest_and_newest("3.97")
