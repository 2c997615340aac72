"""The lowest versions that pyproject.toml names work: a few tests of each part. `make test-floors` runs all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tools.machines import resolutions, suite
from tools.machines.interpreters import NoPythonError, find
from tools.machines.parts import PARTS, Part

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.long(days=4)
@pytest.mark.timeout(300)
@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.extra or "core")
def test_a_part_works_with_its_floors(part: Part, tmp_path: Path) -> None:
    try:
        find(resolutions.OF_FLOORS)
    except NoPythonError as missing:
        pytest.skip(str(missing))
    resolutions.make(part, tmp_path / "environment")

    counts = suite.run(
        tmp_path / "environment",
        "-n",
        "0",
        "--tier",
        "short",
        *resolutions.REWRITTEN,
        *part.some_tests,
        backends=part.backends,
    )

    assert counts.failed == 0
    assert counts.passed > 0


def test_a_part_that_does_not_exist_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert 1 == resolutions.main(["floors", "nothing"])
    assert "there is no part nothing; there are core, postgres," in capsys.readouterr().err
