"""A decision is found by its number: its record, what holds now, and each place that names it."""

from __future__ import annotations

import re

from tools import markdown, tree

FOLDER = tree.ROOT / "docs" / "decisions"
RECORDS = {path.name[:4]: path.name for path in (FOLDER / "archive").glob("[0-9]*.md")}
LIST = (FOLDER / "README.md").read_text("utf-8")
# | number | [decided](its record) | [what holds now](the page of the subject) |
ROWS = re.findall(r"^\| (\d{4}) \| \[.+\]\(archive/([^)]+)\) \| \[[^\]]+\]\(([a-z]+\.md)\) \|$", LIST, re.MULTILINE)
SUPERSEDED = {"0016", "0017"}
NAMED = re.compile(r"\b[Dd]ecision (\d{4})\b")


def test_each_number_has_one_record_and_one_row() -> None:
    assert len(RECORDS) == len(list((FOLDER / "archive").iterdir()))
    assert sorted(RECORDS.items()) == [(number, record) for number, record, _ in ROWS]


def test_the_page_of_a_subject_names_the_decisions_that_hold_there() -> None:
    pages = {name: (FOLDER / name).read_text("utf-8") for _, _, name in ROWS}
    unnamed = {number for number, record, name in ROWS if f"[{number}](archive/{record})" not in pages[name]}

    assert unnamed == SUPERSEDED


def test_each_number_that_code_and_pages_name_exists() -> None:
    named = {
        (tree.name_of(path), number)
        for ending in (".py", ".md", ".sql")
        for path in tree.files(ending)
        for number in NAMED.findall(path.read_text("utf-8"))
    }

    assert named
    assert [] == sorted(where for where in named if where[1] not in RECORDS)


def test_what_holds_now_is_short() -> None:
    """A page of a subject is read before a change, as a whole."""
    pages = {name: markdown.read((FOLDER / name).read_text("utf-8")) for _, _, name in ROWS}
    words = {name: sum(len(line.split()) for _, line in page.prose) for name, page in pages.items()}

    assert {} == {name: count for name, count in words.items() if count > 2_000}
