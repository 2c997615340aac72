"""What `make docs` makes of the pages, and what its check of the built site detects. `make docs` itself runs in CI."""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location
from typing import TYPE_CHECKING, Any

import pytest

from tools import check_site, tree

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def conf() -> Any:
    """Load the settings as Sphinx does, by their path."""
    spec = spec_from_file_location("conf", tree.ROOT / "docs" / "conf.py")
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


RECORDS = "docs/decisions/archive/"
READERS = ("I write workflows", "I put them into my web app", "I run them", "I work on Romancy")


def test_each_reader_has_at_most_eight_pages(conf: Any) -> None:
    groups = conf.groups(tree.ROOT)

    assert {} == {reader: groups[reader] for reader in READERS if not 1 <= len(groups[reader]) <= 8}


def test_the_menu_begins_with_the_readers_and_has_every_page_once(conf: Any) -> None:
    groups = conf.groups(tree.ROOT)
    pages = [page for group in groups.values() for _, page in group]

    assert ["Tutorial", "After the tutorial", *READERS] == list(groups)[:6]
    assert len(pages) == len(set(pages))
    assert [] == [page for page in pages if not (tree.ROOT / f"{page}.md").is_file()]
    names = {tree.name_of(path) for path in tree.files(".md")}
    assert {name for name in names if name.startswith("docs/") and not name.startswith(RECORDS)} == {
        "docs/index.md",
        *(f"{page}.md" for page in pages if page.startswith("docs/")),
    }


def test_a_link_to_a_record_of_a_decision_is_text_on_the_site(conf: Any) -> None:
    text = ["[0021](archive/0021-the-fence.md), [cost](cost.md) and [0006](docs/decisions/archive/0006-a.md)."]
    conf.name_records(None, "", text)

    assert ["0021, [cost](cost.md) and 0006."] == text


def test_the_site_has_each_picture_in_both_colours(conf: Any) -> None:
    """Sphinx copies the images that it knows, and no raw `<picture>`."""
    for path in tree.files(".md"):
        text = [path.read_text("utf-8")]
        before = text[0].count("<picture>")
        conf.show_pictures(None, "", text)

        assert "<picture>" not in text[0], path
        assert before == text[0].count(":class: only-light") == text[0].count(":class: only-dark"), path


MENU = (("One", ""), ("Two", ' class="current"'))


def test_a_group_of_the_menu_folds_and_that_of_the_page_is_open(conf: Any) -> None:
    caption = '<p class="caption" role="heading"><span class="caption-text">{}</span></p>'
    one, two = (f"{caption.format(name)}<ul{current}><li>{name}</li></ul>" for name, current in MENU)
    context = {"furo_navigation_tree": f"<div>{one}{two}</div>"}
    conf.fold_menu(None, "", "", context, None)

    menu = context["furo_navigation_tree"]
    assert "<details><summary>One</summary><ul><li>One</li></ul></details>" in menu
    assert '<details open><summary>Two</summary><ul class="current">' in menu


@pytest.mark.parametrize(
    ("reference", "problem"),
    [
        ('<a href="other.html#place">x</a>', None),
        ('<a href="https://a.example/gone">x</a>', None),
        ('<a href="#here" id="here">x</a>', None),
        ('<a href="gone.html">x</a>', "'gone.html' does not exist"),
        ('<img src="gone%20away.png">', "'gone%20away.png' does not exist"),
        ('<source srcset="other.html, gone.png 2x">', "'gone.png' does not exist"),
        ('<a href="other.html#nowhere">x</a>', "'other.html#nowhere' names no place of its page"),
        ('<a href="../up.html">x</a>', "'../up.html' leaves the site"),
        ('<script src="/a.js"></script>', "'/a.js' is absolute: a site may be served from a folder of its host"),
    ],
)
def test_a_dead_reference_of_the_site_is_seen(tmp_path: Path, reference: str, problem: str | None) -> None:
    (tmp_path / "other.html").write_text('<h1 id="place">x</h1>')
    (tmp_path / "page.html").write_text(f"<p>words</p>\n{reference}\n")

    assert ([f"page.html:2: {problem}"] if problem else []) == list(check_site.dead_references(tmp_path))


SCRIPTS = {
    "_static/language_data.js": "const stopwords = new Set(); class Stemmer { stemWord(word) { return word; } }\n",
    "_static/searchtools.js": """
        const Search = {
          setIndex: (index) => { Search.index = index; },
          _parseQuery: (word) => [word],
          _performSearch: (word) => (Search.index[word] || []).map((name) => [name]),
        };
    """,
    "searchindex.js": 'Search.setIndex({signal: ["c", "b", "a"], saga: ["b"]})',
}
"""A site whose search knows two words; Sphinx' answers have the best page last."""


def test_a_word_that_finds_another_page_first_is_seen(tmp_path: Path) -> None:
    (tmp_path / "_static").mkdir()
    for name, text in SCRIPTS.items():
        (tmp_path / name).write_text(text)

    assert [] == list(check_site.badly_found(tmp_path, {"signal": {"a"}, "saga": {"b", "c"}}))
    assert [
        "search: 'signal' finds a first; expected c",
        "search: 'timer' finds nothing first; expected a or b",
    ] == list(check_site.badly_found(tmp_path, {"signal": {"c"}, "timer": {"a", "b"}}))
