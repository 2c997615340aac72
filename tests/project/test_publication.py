"""What a package index shows: the README with links that lead somewhere, and addresses that somebody owns."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any

import pytest

from tools import markdown, publication, tree
from tools.distribution import build_wheel

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS: dict[str, Any] = tomllib.loads((tree.ROOT / "pyproject.toml").read_text("utf-8"))
README = (tree.ROOT / "README.md").read_text("utf-8")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


def test_the_page_of_the_wheel_has_no_dead_link_and_no_picture_in_two_colours(wheel: Path) -> None:
    description = publication.description_of(wheel)

    assert [] == list(publication.dead_links(description))
    assert list(publication.dead_links(README)), "the README itself has relative links, which a code host wants"
    assert not re.search("<(picture|source)", description)
    assert 1 == description.count("<img ")


def test_the_links_of_the_page_lead_to_the_files_of_this_version(wheel: Path) -> None:
    description = publication.description_of(wheel)
    repository = SETTINGS["project"]["urls"]["Repository"]
    of_files = re.compile(
        rf"{re.escape(repository)}/(?:blob|raw)/v{re.escape(SETTINGS['project']['version'])}/([^)\s\"#]+)"
    )
    named = of_files.findall(description)

    assert len(named) > 40
    assert [] == [name for name in named if not (tree.ROOT / name).is_file()]
    assert "docs/pictures/timeline-light.png" in named


def test_the_page_is_the_readme_but_for_links_and_picture(wheel: Path) -> None:
    description = publication.description_of(wheel)
    words = re.compile(r"\]\([^)]*\)|<picture>.*</picture>|<img [^>]*>", re.DOTALL)

    assert [b.text for b in markdown.read(README).blocks] == [b.text for b in markdown.read(description).blocks]
    assert words.sub("", README).strip() == words.sub("", description).strip()


def test_the_metadata_name_licences_topics_and_addresses(wheel: Path) -> None:
    metadata = publication.metadata_of(wheel)
    classifiers = metadata.get_all("Classifier", [])

    assert metadata["License-Expression"] == "Apache-2.0 AND 0BSD"
    assert {"LICENSE", "romancy/dashboard/static/htmx-LICENSE.txt"} == set(metadata.get_all("License-File", []))
    assert {"Homepage", "Documentation", "Repository", "Issues", "Changelog"} == {
        url.partition(",")[0] for url in metadata.get_all("Project-URL", [])
    }
    assert ["Operating System :: POSIX :: Linux"] == [c for c in classifiers if c.startswith("Operating System")]
    assert any(c.startswith("Topic :: ") for c in classifiers)
    assert metadata["Author-email"]
    assert metadata["Maintainer-email"]
    assert not any(re.search("fancy|hatch", need) for need in metadata.get_all("Requires-Dist", []))


def test_no_other_file_has_a_placeholder_of_an_address_of_ours() -> None:
    """Who publishes Romancy changes one place."""
    ours = re.compile(r"\bpublisher\.example\b")
    named = [tree.name_of(path) for path in tree.files(".md", ".toml", ".yml", ".yaml", ".txt", ".in", ".cfg", ".py")]
    found = {name for name in named if ours.search((tree.ROOT / name).read_text("utf-8"))}

    assert found <= {"pyproject.toml", "tests/project/test_publication.py"}


def settings(**urls: str) -> dict[str, Any]:
    """Return settings with public addresses, and with these."""
    known = {"Homepage": "https://romancy.dev/", "Repository": "https://github.com/romancy/romancy"}
    base = urls.pop("base", known["Repository"])
    substitutions = [{"pattern": "x", "replacement": f"]({base}/blob/v$HFPR_VERSION/"}]
    return {
        "project": {
            "authors": [{"name": "A", "email": urls.pop("email", "a@romancy.dev")}],
            "maintainers": [],
            "urls": known | urls,
        },
        "tool": {"hatch": {"metadata": {"hooks": {"fancy-pypi-readme": {"substitutions": substitutions}}}}},
    }


def test_public_addresses_are_no_placeholders() -> None:
    assert [] == [*publication.placeholders(settings()), *publication.strangers(settings())]


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({"email": "a@publisher.example"}, "project.authors names publisher.example"),
        ({"Homepage": "https://publisher.test/"}, "project.urls.Homepage names publisher.test"),
        ({"Repository": "https://example.org/romancy"}, "project.urls.Repository names example.org"),
        ({"base": "https://publisher.example/romancy"}, "the replacement of x names publisher.example"),
    ],
)
def test_a_placeholder_is_named(changed: dict[str, str], name: str) -> None:
    assert any(name in each for each in publication.placeholders(settings(**changed)))


def test_links_of_the_readme_lead_into_the_repository() -> None:
    (problem,) = publication.strangers(settings(base="https://github.com/somebody/romancy"))

    assert "leads to https://github.com/somebody/romancy/blob/v" in problem


@pytest.mark.parametrize(
    "dead", ["[x](docs/a.md)", "![x](a.png)", "[x](#here)", '<img src="a.png">', '<source srcset="a.png">', "[r]: a.md"]
)
def test_a_dead_link_is_seen(dead: str) -> None:
    page = f"# A page\n\nsome [words](https://romancy.dev/a)\n{dead}\n"

    assert 1 == len(list(publication.dead_links(page)))
