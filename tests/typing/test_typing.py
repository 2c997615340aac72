"""The programs that `make check` gives to both type checkers: they accept the accepted ones, and find every mistake.

Both checkers read the whole tree, these programs included, and both report an `ignore` that hides no error.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


def test_both_checkers_read_these_programs_and_report_what_hides_no_error() -> None:
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]
    assert (["."], ["^build/", "^dist/"], True) == tuple(tools["mypy"][name] for name in ("files", "exclude", "strict"))
    assert {"**/.*", "**/__pycache__", "build", "dist"} == set(tools["pyright"]["exclude"])
    assert "include" not in tools["pyright"]
    assert "# pyright: reportUnnecessaryTypeIgnoreComment=true" in (HERE / "refused.py").read_text("utf-8")


def test_every_mistake_is_marked_once() -> None:
    marked = [line for line in (HERE / "refused.py").read_text().splitlines() if "# type: ignore[" in line]
    assert len(marked) >= 20
