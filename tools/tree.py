"""The files that belong to this tree: what git tracks or would track, read from the working copy."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def files(*suffixes: str) -> list[Path]:
    """Return the tree's files (with one of `suffixes`, if any are given), sorted.

    Raises `RuntimeError` outside a git checkout: a check that sees no file must not pass.
    """
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:
        message = f"{ROOT.name} is not a git checkout: {listed.stderr.decode(errors='replace').strip()}"
        raise RuntimeError(message)
    paths = sorted({ROOT / name for name in listed.stdout.decode().split("\0") if name})
    return [path for path in paths if path.is_file() and (not suffixes or path.suffix in suffixes)]


def name_of(path: Path) -> str:
    """Return the path as people write it: relative to the root of the tree."""
    return path.relative_to(ROOT).as_posix()


def day_of_head(root: Path = ROOT) -> int:
    """Return the day of the last commit, counted since 1970: what takes turns does the same on the same tree."""
    git = ["git", "-C", str(root), "log", "-1", "--format=%ct"]
    return int(subprocess.run(git, capture_output=True, text=True, check=True).stdout) // 86_400
