"""What has changed since a commit: which functions of the product, and which other files."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, Final

from tools.check_quick import git
from tools.quick.marking import functions_in

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["changed_functions", "changed_lines", "changed_paths"]

_HUNK: Final = re.compile(r"^@@ -\S+ \+(\d+)(?:,(\d+))? @@", re.MULTILINE)


def changed_paths(root: Path, base: str) -> list[str]:
    """Return the files that differ from this commit, committed or not, and untracked ones, sorted."""
    differ = git(root, "diff", "--name-only", "--relative", "-z", base, "--")
    untracked = git(root, "ls-files", "--others", "--exclude-standard", "-z")
    return sorted({name for name in (differ + untracked).split("\0") if name})


def changed_lines(root: Path, base: str, path: str) -> list[int] | None:
    """Return the lines of a file that differ, and those beside a deletion. None: all of them, because it is new."""
    if not git(root, "ls-tree", "--name-only", base, "--", path):
        return None
    lines: list[int] = []
    for first, many in _HUNK.findall(git(root, "diff", "-U0", "--relative", base, "--", path)):
        begin, length = int(first), int(many or 1)
        lines += range(begin, begin + length) if length else (begin, begin + 1)
    return lines


def changed_functions(source: str, lines: Iterable[int] | None) -> set[str]:
    """Return the functions with these lines. A line outside of functions may concern all of the file."""
    functions = list(functions_in(ast.parse(source)))
    everything = {name for name, _ in functions}
    if lines is None:
        return everything
    found = set[str]()
    for line in lines:
        around = [
            name
            for name, function in functions
            if min([function.lineno, *(each.lineno for each in function.decorator_list)])
            <= line
            <= (function.end_lineno or function.lineno)
        ]
        if not around:
            return everything
        found.add(around[-1])  # the innermost one
    return found
