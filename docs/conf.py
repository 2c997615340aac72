"""How Sphinx makes a site of the pages as they are: `make docs`. The folder it reads from is the root of the tree.

Pages stay plain Markdown that a code host shows as well. The README is the root page. The groups of the menu are the
headings of docs/index.md, with the pages that it links under each of them; a page that it does not link has no place,
and fails the build.
"""

# ruff: noqa: INP001 - Sphinx reads it by its path; it belongs to no package

from __future__ import annotations

import re
import shutil
from pathlib import Path
from posixpath import dirname, normpath
from typing import Any

project = "Romancy"
author = "the authors of Romancy"
extensions = ["myst_parser", "sphinx_copybutton"]
root_doc = "README"
include_patterns = ["README.md", "CONTRIBUTING.md", "CODE_OF_CONDUCT.md", "CHANGELOG.md", "SECURITY.md", "docs/**"]
exclude_patterns = [
    "docs/decisions/archive/**"
]  # records, with the figures of their dates: they stay in the repository
html_theme = "furo"
html_title = "Romancy"
html_copy_source = False
html_extra_path = ["../llms.txt"]
html_static_path = ["site/site.css"]
html_css_files = ["site.css"]
html_search_scorer = str(Path(__file__).with_name("site") / "search_scorer.js")  # Sphinx reads it from its own folder
myst_heading_anchors = 4
nitpicky = True
copybutton_prompt_text = "$ "  # a block with prompts copies the commands alone

INDEX = "docs/index"
DECISIONS = "docs/decisions/README"
_HEADING = re.compile(r"^###? (.+)$", re.MULTILINE)
_ROW = re.compile(r"^\| \[([^\]]+)\]\(([^)#]+)\.md\)", re.MULTILINE)
_OF_THE_ARCHIVE = re.compile(r"\[([^\]]+)\]\((?:[^)\s]*/)?archive/\d{4}[^)\s]*\)")
_PICTURE = re.compile(
    r'<picture>\s*<source media="\(prefers-color-scheme: dark\)" srcset="(?P<dark>[^"]+)">'
    r'\s*<img alt="(?P<alt>[^"]+)" src="(?P<light>[^"]+)">\s*</picture>'
)
_GROUP = re.compile(
    r'<p class="caption" role="heading"><span class="caption-text">(.+?)</span></p>\s*'
    r'(<ul(?P<open> class="current")?>.*?</ul>)\s*(?=<p|</div>|$)',
    re.DOTALL,
)


def rows(name: str, text: str) -> list[tuple[str, str]]:
    """Return the title and the page of each row of a table whose first column links a page."""
    return [(title, normpath(f"{dirname(name)}/{page}")) for title, page in _ROW.findall(text)]


def groups(root: Path) -> dict[str, list[tuple[str, str]]]:
    """Return the groups of the menu, each with titles and pages. Only those with a table have any."""
    _, *parts = _HEADING.split((root / f"{INDEX}.md").read_text("utf-8"))
    found = {heading: rows(INDEX, text) for heading, text in zip(parts[::2], parts[1::2], strict=True)}
    found["Decisions"] = rows(DECISIONS, (root / f"{DECISIONS}.md").read_text("utf-8"))
    return {heading: pages for heading, pages in found.items() if pages}


def add_menu(app: Any, name: str, text: list[str]) -> None:
    """Put the groups of the menu into the root page."""
    if name != root_doc:
        return
    menu = {"": [("What Romancy is", "self"), ("All pages", f"/{INDEX}")]}
    for group, pages in groups(Path(app.srcdir)).items():
        menu[group] = [(title.removeprefix(f"{group}: "), f"/{page}") for title, page in pages]
    for group, pages in menu.items():
        lines = "\n".join(f"{title} <{page}>" for title, page in pages)
        caption = f":caption: {group}\n" if group else ""
        text[0] += f"\n```{{toctree}}\n:hidden:\n{caption}\n{lines}\n```\n"


def name_records(app: Any, name: str, text: list[str]) -> None:
    """Leave the links to records of decisions as plain text: the site has no page for them."""
    del app, name
    text[0] = _OF_THE_ARCHIVE.sub(r"\1", text[0])


def show_pictures(app: Any, name: str, text: list[str]) -> None:
    """Write a picture in two colours as two images, of which the theme shows one. Sphinx copies no raw `<picture>`."""
    del app, name
    image = "```{{image}} {}\n:class: only-{}\n:alt: {}\n```"
    text[0] = _PICTURE.sub(
        lambda found: "\n\n".join(image.format(found[what], what, found["alt"]) for what in ("light", "dark")), text[0]
    )


def fold_menu(app: Any, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Make each group of the menu one that opens and closes. The group of the page that is shown is open."""
    del app, page, template, doctree
    context["furo_navigation_tree"] = _GROUP.sub(
        lambda found: f"<details{' open' if found['open'] else ''}><summary>{found[1]}</summary>{found[2]}</details>",
        context["furo_navigation_tree"],
    )


def finish(app: Any, error: Exception | None) -> None:
    """Put each page's Markdown beside it, where the links of llms.txt lead, and the root page at the root."""
    if error is not None:
        return
    site = Path(app.outdir)
    for name in app.env.found_docs:
        shutil.copyfile(app.env.doc2path(name), site / f"{name}.md")
    shutil.copyfile(site / f"{root_doc}.html", site / "index.html")


def setup(app: Any) -> None:
    app.connect("source-read", add_menu)
    app.connect("source-read", name_records)
    app.connect("source-read", show_pictures)
    app.connect("html-page-context", fold_menu, priority=900)  # after that of the theme
    app.connect("build-finished", finish)
