"""The commit that the work in this tree is compared with."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Final

from tools import tree

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["base_of", "git"]

_MAINS: Final = ("origin/main", "main")
_DAY: Final = 24 * 60 * 60


def base_of(root: Path = tree.ROOT) -> str:
    """`$ROMANCY_BASE`, or the commit where this branch left main. On main itself, its last commit a day before HEAD.

    If the history does not go so far back, it is the oldest commit that is known.
    """
    if named := os.environ.get("ROMANCY_BASE"):
        return named
    head = git("rev-parse", "HEAD", root=root).strip()
    for name in _MAINS:
        if git("for-each-ref", f"refs/heads/{name}", f"refs/remotes/{name}", root=root):
            base = git("merge-base", name, "HEAD", root=root).strip()
            if base != head:
                return base
    before = int(git("log", "-1", "--format=%ct", root=root)) - _DAY
    older = git("rev-list", "-1", f"--before={before}", "HEAD", root=root).strip()
    return older or git("rev-list", "--max-parents=0", "HEAD", root=root).split()[0]


def git(*arguments: str, root: Path = tree.ROOT) -> str:
    """What git answers. `LookupError` if it refuses."""
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LookupError(f"git {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout
