"""How Sphinx makes a site of the pages as they are: `make docs`. The folder it reads from is the root of the tree.

Pages stay plain Markdown, so the order in the menu is that of the links in the two pages that list the others; a page
that neither links has no place, and fails the build.
"""

# ruff: noqa: INP001 - Sphinx reads it by its path; it belongs to no package

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

project = "Romancy"
author = "the authors of Romancy"
extensions = ["myst_parser"]
root_doc = "docs/index"
include_patterns = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "docs/**"]
html_theme = "furo"
html_title = "Romancy"
html_copy_source = False
html_extra_path = ["../llms.txt"]
myst_heading_anchors = 4
nitpicky = True

LISTS = {"docs/index": "docs/", "docs/decisions/README": "docs/decisions/"}
FURTHER = ["README", "CONTRIBUTING", "CHANGELOG", "SECURITY"]


def add_menu(app: Any, name: str, text: list[str]) -> None:
    """Put what a listing page links, in its order, into the menu."""
    del app
    folder = LISTS.get(name)
    if folder is None:
        return
    linked = re.findall(r"\]\(((?!\.\.)[^)#]+)\.md\)", text[0])
    pages = [f"/{folder}{page}" for page in linked]
    pages += [f"/{page}" for page in FURTHER] if name == root_doc else []
    menu = "\n".join(dict.fromkeys(pages))
    text[0] += f"\n```{{toctree}}\n:hidden:\n\n{menu}\n```\n"


def add_twins(app: Any, error: Exception | None) -> None:
    """Put each page's Markdown beside it, where the links of llms.txt lead, and a door at the root."""
    if error is not None:
        return
    site = Path(app.outdir)
    for name in app.env.found_docs:
        shutil.copyfile(app.env.doc2path(name), site / f"{name}.md")
    door = f'<meta http-equiv="refresh" content="0; url={root_doc}.html"><a href="{root_doc}.html">{project}</a>\n'
    (site / "index.html").write_text(door, "utf-8")


def setup(app: Any) -> None:
    app.connect("source-read", add_menu)
    app.connect("build-finished", add_twins)
