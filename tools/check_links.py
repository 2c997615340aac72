"""Refuse broken links in the documentation: every file and heading that a link names must exist.

An external link must use https. The check fetches nothing, so the result is the same everywhere. Run as `python -m
tools.check_links`; prints one line for each offence and exits with 1 if there is any.
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING
from urllib.parse import unquote

from tools import markdown, tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SCHEME = re.compile(r"^[a-z][a-z0-9+.-]*:", re.IGNORECASE)


def broken_links(path: Path, root: Path) -> Iterator[str]:
    """Yield one sentence for each link of the page at `path` that has no destination under `root`."""
    try:
        page = markdown.read(path.read_text("utf-8"))
    except ValueError as unreadable:
        yield f"{path.relative_to(root).as_posix()}: {unreadable}"
        return
    for line, target in markdown.links(page):
        problem = _problem(path, target, root)
        if problem:
            yield f"{path.relative_to(root).as_posix()}:{line}: {target!r} {problem}"


def _problem(path: Path, target: str, root: Path) -> str | None:
    if _SCHEME.match(target):
        return None if target.startswith(("https://", "mailto:")) else "is not https"
    name, _, fragment = unquote(target).partition("#")
    if name.startswith("/"):
        return "is absolute: write it relative to the page"
    destination = (path.parent / name).resolve() if name else path
    if not destination.is_relative_to(root):
        return "leaves the tree"
    if not destination.exists():
        return "does not exist"
    if fragment and destination.suffix == ".md":
        known = markdown.anchors(markdown.read(destination.read_text("utf-8")))
        if fragment not in known:
            return f"names no heading of {destination.name}"
    return None


def main() -> int:
    pages = tree.files(".md")
    offences = [line for path in pages for line in broken_links(path, tree.ROOT)]
    print("\n".join([*offences, f"links: {len(pages)} pages, {len(offences)} broken links"]))
    return bool(offences)


if __name__ == "__main__":
    sys.exit(main())
