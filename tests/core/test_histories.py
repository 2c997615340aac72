"""A recorded history replays in every later version."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from romancy_conformance.workflows import FAMILY
from tests.core.histories import FILES
from tests.core.other_process import problem

if TYPE_CHECKING:
    from pathlib import Path

KEPT = [(file, line) for file in FILES for line in file.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize(("file", "line"), KEPT, ids=[f"{file.stem}-{json.loads(line)[0]}" for file, line in KEPT])
def test_a_kept_history_replays(file: Path, line: str) -> None:
    name, commits = json.loads(line)
    assert name in FAMILY
    assert problem(name, [(id, body.encode()) for id, body in commits], cuts=2, exact=False) is None


def test_the_first_histories_are_kept() -> None:
    assert "0.1" in {file.stem for file in FILES}
    assert len(KEPT) >= len(FAMILY) // 2
