"""The release check detects what must not be released, and this tree passes it."""

from __future__ import annotations

import subprocess
import sys
import tomllib

import pytest

from tools import publication, release_check
from tools.tree import ROOT

HEAD = "# Changelog\n\nAll changes.\n\n"
WAITING = HEAD + "## [Unreleased]\n\n### Added\n\n- A thing.\n"
RELEASED = (
    HEAD + "## [Unreleased]\n\n## [1.1.0] - 2026-11-22\n\n- A thing.\n\n## [1.0.0] - 2026-10-01\n\n- The first.\n"
)


@pytest.mark.parametrize(
    ("version", "changelog"),
    [
        ("1.2.0.dev0", WAITING),
        ("1.1.0", RELEASED),
        ("1.2.0.dev0", RELEASED.replace("## [1.1.0]", "- Another thing.\n\n## [1.1.0]")),
    ],
)
def test_what_may_be_released_has_no_problem(version: str, changelog: str) -> None:
    assert [] == list(release_check.problems_of(version, changelog))


@pytest.mark.parametrize(
    ("version", "changelog", "problem"),
    [
        ("one", WAITING, "'one' is no version"),
        ("1.2.0-dev0", WAITING, "write the version 1.2.0-dev0 as 1.2.0.dev0"),
        ("1.2.0.dev0", HEAD, "its first section has to be [Unreleased]"),
        ("1.2.0.dev0", RELEASED, "[Unreleased] is empty"),
        ("1.2.0", RELEASED, "has no section; put `## [1.2.0] - DATE` there"),
        ("1.1.0", RELEASED.replace("## [1.1.0]", "- Left.\n\n## [1.1.0]"), "[Unreleased] has entries"),
        ("1.1.0", RELEASED.replace("[1.0.0]", "[1.3.0]"), "[1.3.0] stands under 1.1.0"),
        ("1.1.0", RELEASED.replace("[1.0.0]", "[1.1.0.]"), "[1.1.0.] is no version"),
        ("1.1.0", RELEASED.replace(" - 2026-10-01", " - 2026-13-01"), "[1.0.0] has no date"),
        ("1.1.0", RELEASED.replace(" - 2026-11-22", ""), "[1.1.0] has no date"),
    ],
)
def test_what_is_in_the_way_is_said(version: str, changelog: str, problem: str) -> None:
    problems = list(release_check.problems_of(version, changelog))

    assert any(problem in each for each in problems), problems


@pytest.mark.long
@pytest.mark.timeout(600)
def test_this_tree_passes_but_for_the_addresses_that_nobody_knows_yet() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    unknown = list(publication.placeholders(settings))
    done = subprocess.run(
        [sys.executable, "-m", "tools.release_check", "--trial"], cwd=ROOT, capture_output=True, text=True, check=False
    )

    said = [line for line in done.stderr.splitlines() if line.startswith("release: ")]
    assert [f"release: {each}" for each in unknown] == said
    assert bool(unknown) == (done.returncode == 1)
    assert bool(unknown) != ("release: dist holds what may be uploaded" in done.stdout.splitlines())
    assert all(f"romancy[{extra}] imports" in done.stdout for extra in release_check.EXTRAS)
