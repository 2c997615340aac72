"""The checks for the inner loop, all of them in each run, so that one run shows everything that is to be mended.

`make check` has pyright read the whole tree, which takes minutes. Here it reads the files that differ from the merge
base with the upstream branch, or from HEAD where there is none, and those that git does not track yet.

Run as `python -m tools.check_quick`; exits with 1 if any check failed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from tools import tree

if TYPE_CHECKING:
    from collections.abc import Iterable

_BIN: Final = Path(sys.executable).parent
_AT_A_TIME: Final = 2
"""Mypy and pyright take nearly all of the time, and each uses one processor."""


class Check(NamedTuple):
    """One tool and its command line."""

    name: str
    command: tuple[str, ...]


class Ended(NamedTuple):
    """How a tool ended."""

    failed: bool
    output: str
    seconds: float


def changed_files(root: Path) -> list[str]:
    """Return the Python files that differ from the merge base, committed or not, and untracked ones, sorted.

    Without those in folders whose names begin with a dot, which pyright leaves out. Raises `RuntimeError` outside a git
    checkout: a check that sees no file must not pass.
    """
    differ = git(root, "diff", "--name-only", "--relative", "--diff-filter=d", "-z", merge_base(root), "--")
    untracked = git(root, "ls-files", "--others", "--exclude-standard", "-z")
    names = {Path(name) for name in (differ + untracked).split("\0") if name.endswith((".py", ".pyi"))}
    return sorted(path.as_posix() for path in names if not any(part.startswith(".") for part in path.parts))


def merge_base(root: Path) -> str:
    """Return the commit at which this branch left its upstream, or HEAD without an upstream."""
    return git(root, "merge-base", "HEAD", "@{upstream}", none="HEAD").strip()


def git(root: Path, *arguments: str, none: str | None = None) -> str:
    """Return what git prints, or `none` if that is given and git fails."""
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, check=False)
    if not done.returncode:
        return done.stdout.decode(errors="surrogateescape")
    if none is not None:
        return none
    said = done.stderr.decode(errors="replace").strip()
    raise RuntimeError(f"git {arguments[0]} names no changed files in {root.name}: {said}")


def checks(changed: Iterable[str]) -> list[Check]:
    """Return all checks, the slow ones first. Pyright is one of them if there are changed files."""
    lint_imports = (f"{_BIN / 'lint-imports'}", "--no-logo", "--no-cache")
    found = [
        Check("mypy", (f"{_BIN / 'mypy'}", "--strict")),
        Check("ruff format", (f"{_BIN / 'ruff'}", "format", "--check", ".")),
        Check("ruff check", (f"{_BIN / 'ruff'}", "check", ".")),
        Check("import contracts", lint_imports),
        Check("circles of imports", (*lint_imports, "--config", "tools/cycles.toml")),
    ]
    files = tuple(changed)
    if files:
        found.insert(1, Check(f"pyright, {len(files)} changed", (f"{_BIN / 'pyright'}", *files)))
    return found


def _run(check: Check) -> Ended:
    began = time.monotonic()
    environment = {**os.environ, "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}
    try:
        done = subprocess.run(
            check.command, cwd=tree.ROOT, env=environment, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        )  # fmt: skip
    except OSError as error:
        return Ended(failed=True, output=f"cannot run {check.command[0]}: {error}", seconds=0.0)
    return Ended(bool(done.returncode), done.stdout.strip(), time.monotonic() - began)


def run_all(wanted: list[Check]) -> bool:
    """Run every check, whatever the others find, and print what each one says, once. True if any failed."""
    failed: list[str] = []
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        for check, ended in zip(wanted, pool.map(_run, wanted), strict=True):
            print(f"── {check.name}: {'FAILED' if ended.failed else 'passed'}, {ended.seconds:.0f} s", flush=True)
            if ended.failed:
                failed.append(check.name)
                print(ended.output, flush=True)
    print(f"failed: {'; '.join(failed)}" if failed else f"{len(wanted)} checks passed", flush=True)
    return bool(failed)


def main() -> int:
    changed = changed_files(tree.ROOT)
    if not changed:
        print("── pyright: no Python file has changed; `make check` reads all of them")
    return int(run_all(checks(changed)))


if __name__ == "__main__":
    sys.exit(main())
