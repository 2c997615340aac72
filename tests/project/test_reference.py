"""docs/reference/ and llms.txt are what `python -m tools.make_reference` writes, and omit nothing."""

from __future__ import annotations

import posixpath
import re

import pytest

import romancy
from romancy import errors, hooks, http, outbox, query
from tools import markdown, sync_page, tree
from tools.make_reference import INDEX, pages

MAKE = "make the pages again: python -m tools.make_reference"
PAGES = {tree.name_of(path) for path in tree.files(".md")}
# The list of decisions links each of its pages.
ORDINARY = {
    name
    for name in PAGES
    if name.startswith("docs/") and (not name.startswith("docs/decisions/") or name == "docs/decisions/README.md")
}


@pytest.fixture(scope="module")
def written() -> dict[str, str]:
    """What `tools.make_reference` writes, by the names of the files."""
    return {tree.name_of(path): text for path, text in pages().items()}


def test_the_pages_are_current(written: dict[str, str]) -> None:
    kept = {name: (tree.ROOT / name).read_text("utf-8") for name in written}
    assert [name for name, text in written.items() if text != kept[name]] == [], MAKE


def test_no_page_is_left_of_what_is_no_longer_made(written: dict[str, str]) -> None:
    assert {name for name in PAGES if name.startswith("docs/reference/")} == written.keys() - {tree.name_of(INDEX)}


def test_every_public_name_has_its_place(written: dict[str, str]) -> None:
    public = [*romancy.__all__, *errors.__all__, *hooks.__all__, *http.__all__, *outbox.__all__, *query.__all__]
    headings = re.findall(r"^## (\w+)$", "\n".join(written.values()), re.MULTILINE)

    assert {*public} <= {*headings}


def test_every_method_that_is_shown_says_what_it_promises(written: dict[str, str]) -> None:
    silent = re.findall(r"^### (\S+)\n\n```[^`]+```\n\n(?=#)", "\n".join(written.values()), re.MULTILINE)

    # The protocol documents them: `PayloadCodec.encode` and `.decode`.
    assert [name for name in silent if name.partition(".")[0] not in {"ZlibCodec", "HmacCodec"}] == []


def test_the_page_about_sync_has_in_full_only_what_differs() -> None:
    begin = [
        "## Call",
        "",
        "```python no-run: signatures",
        "class Call: ...",
        "```",
        "",
        "One call.",
        "",
        "- `url: str`: It.",
    ]
    same = ["### Call.a", "", "async def a() -> Handle[int]: ...", "", "Use it as an `async with` block."]
    other = ["### Call.b", "", "async def b(x: int) -> int: ..."]
    twin = [line.replace("Call", "SyncCall") for line in begin]
    twin += ["### SyncCall.a", "", "def a() -> SyncHandle[int]: ...", "", "Use it as a `with` block."]
    twin += ["### SyncCall.b", "", "def b() -> int: ..."]

    written = sync_page.page([sync_page.Twin("SyncCall", twin, "Call", {"call.md": [*begin, *same, *other]})])

    assert written.endswith(
        """## SyncCall

One call.

The twin of [`Call`](call.md#call), with its attributes.

As there: [`a`](call.md#calla).

### SyncCall.b

def b() -> int: ...
"""
    )


def links_of(name: str) -> set[str]:
    found = markdown.links(markdown.read((tree.ROOT / name).read_text("utf-8")))
    return {
        posixpath.normpath(posixpath.join(posixpath.dirname(name), target.partition("#")[0])) for _, target in found
    }


def test_the_index_links_every_page() -> None:
    assert ORDINARY - {"docs/index.md"} <= links_of("docs/index.md")


def test_the_list_of_decisions_links_every_page_and_every_record() -> None:
    decisions = {name for name in PAGES if name.startswith("docs/decisions/")} - {"docs/decisions/README.md"}

    assert decisions <= links_of("docs/decisions/README.md")


def test_the_index_for_machines_links_every_page_with_a_line() -> None:
    lines = (tree.ROOT / INDEX).read_text("utf-8").splitlines()
    linked = {found[1] for line in lines if (found := re.match(r"^- \[[^\]]+\]\(([^)]+)\): \S", line))}

    project = {"README.md", "CONTRIBUTING.md", "CODE_OF_CONDUCT.md", "SECURITY.md", "CHANGELOG.md"}
    assert linked == {*project, *ORDINARY} - {"docs/index.md"}
