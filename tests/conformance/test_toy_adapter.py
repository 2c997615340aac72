"""The adapter written out in docs/adapters.md is found like Romancy's own, and keeps the promises it claims."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tools import markdown, tree

if TYPE_CHECKING:
    from pathlib import Path

_KEPT = ["test_log", "test_fence", "test_leases", "test_claims", "test_inbox", "test_mail"]


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The page's adapter as an installed package, with the entry point that the page gives."""
    page = markdown.read((tree.ROOT / "docs" / "adapters.md").read_text("utf-8"))
    (code,) = [block.text for block in page.blocks if block.language == "python"]
    (entry_point,) = [block.text for block in page.blocks if block.language == "toml"]
    assert entry_point == '[project.entry-points."romancy.backends"]\ntoy = "toy:create_store"\n'
    (tmp_path / "toy.py").write_text(code, "utf-8")
    metadata = tmp_path / "toy-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 1\n", "utf-8")
    (metadata / "entry_points.txt").write_text("[romancy.backends]\ntoy = toy:create_store\n", "utf-8")
    return tmp_path


def _judged(folder: Path, *families: str) -> str:
    kept = {name: value for name, value in os.environ.items() if name not in {"CI", "PYTEST_ADDOPTS"}}
    paths = os.pathsep.join([str(folder), *filter(None, sys.path)])
    names = [f"romancy_conformance.contract.{family}" for family in families]
    command = [sys.executable, "-m", "pytest", "-q", "--tb=short", "-p", "romancy_conformance.plugin", "--pyargs"]
    done = subprocess.run(
        [*command, *names, "--storage-url", f"toy://{folder}/{{unique}}.json"],
        cwd=folder,
        env=kept | {"PYTHONPATH": paths},
        check=False,
        capture_output=True,
        text=True,
    )
    return done.stdout + done.stderr


@pytest.mark.long
def test_the_toy_keeps_the_core_promises(installed: Path) -> None:
    said = _judged(installed, *_KEPT)

    assert "BROKEN" not in said, said
    assert len(_KEPT) == said.count("\nkept      ")


@pytest.mark.long
def test_what_the_toy_has_not_is_said_to_be_broken(installed: Path) -> None:
    said = _judged(installed, "test_sessions")

    assert "BROKEN    Sessions: the user's writes and one append commit together, or neither does." in said
