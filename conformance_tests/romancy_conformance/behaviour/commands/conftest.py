"""Fixtures for the tests of commands: a database, and the command line on it."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

import pytest

from romancy.cli import cli
from romancy.cli._endings import ended
from romancy_conformance.behaviour.commands.buying import Answer

if TYPE_CHECKING:
    from romancy_conformance.behaviour.commands.buying import Command


@pytest.fixture
def url(backend: str, storage_url: str) -> str:
    if backend == "memory":
        pytest.skip("capability: a database of this kind lives in one process")
    return storage_url


@pytest.fixture
def romancy(url: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.setenv("ROMANCY_URL", url)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "stdin", io.StringIO())

    def run(*arguments: str) -> Answer:
        capfd.readouterr()
        code = ended(lambda: cli.main(list(arguments), prog_name="romancy", standalone_mode=False))
        printed = capfd.readouterr()
        return Answer(code, str(printed.out), str(printed.err))

    return run
