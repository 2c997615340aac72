"""The commit that a branch is compared with, and that main itself is compared with."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tools.mutations.systematic.branch import base_of

if TYPE_CHECKING:
    from pathlib import Path

HOUR = 60 * 60


class History:
    """A repository with commits at chosen times."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.git("init", "--quiet", "--initial-branch=main")

    def git(self, *arguments: str, at: int = 0) -> str:
        settings = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
        done = subprocess.run(
            ["git", *settings, *arguments],
            cwd=self.root,
            env={"PATH": "/usr/bin:/bin:/usr/local/bin", "GIT_COMMITTER_DATE": f"{10**9 + at} +0000"},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    def commit(self, hours: int) -> str:
        self.git("commit", "--quiet", "--allow-empty", "--message", "a", at=hours * HOUR)
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> History:
    monkeypatch.delenv("ROMANCY_BASE", raising=False)
    return History(tmp_path)


def test_a_branch_is_compared_with_the_commit_where_it_left_main(history: History) -> None:
    history.commit(0)
    left = history.commit(1)
    history.git("switch", "--quiet", "--create", "work")
    history.commit(2)
    history.git("switch", "--quiet", "main")
    history.commit(3)
    history.git("switch", "--quiet", "work")

    assert base_of(history.root) == left


def test_main_is_compared_with_the_day_before(history: History) -> None:
    history.commit(0)
    before = history.commit(20)
    history.commit(45)
    history.commit(50)

    assert base_of(history.root) == before


def test_a_young_history_is_compared_with_its_beginning(history: History) -> None:
    first = history.commit(0)
    history.commit(1)

    assert base_of(history.root) == first


def test_whoever_knows_better_names_a_commit(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    named = history.commit(0)
    history.commit(48)
    monkeypatch.setenv("ROMANCY_BASE", named)

    assert base_of(history.root) == named
