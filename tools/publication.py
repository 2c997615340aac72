"""What a package index shows of a release, and what must not be there: placeholders, and links that are dead there.

An index shows the README alone, so a link relative to the tree leads nowhere; `pyproject.toml` says how they are made
absolute when a distribution is built. As long as no public address is known, the addresses there are placeholders:
hosts that nobody can own (RFC 2606).
"""

from __future__ import annotations

import re
import zipfile
from email import message_from_bytes
from email.policy import default
from typing import TYPE_CHECKING, Any, Final

from tools import markdown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from email.message import EmailMessage
    from pathlib import Path

PLACEHOLDER: Final = re.compile(r"[\w.-]+\.(?:example|invalid|test)\b|(?:[\w-]+\.)*example\.(?:com|net|org)\b")
_ATTRIBUTE: Final = re.compile(r"""<[^>]*?\b(?:src|srcset|href)=["']([^"']*)["']""")
_ABSOLUTE: Final = ("https://", "mailto:")


def _addresses(settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the name and the text of each setting that may have an address of this project."""
    project = settings["project"]
    for key in ("authors", "maintainers"):
        yield from ((f"project.{key}", str(person)) for person in project[key])
    yield from ((f"project.urls.{key}", url) for key, url in project["urls"].items())
    readme = settings["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]
    for each in readme["substitutions"]:
        yield f"tool.hatch.metadata.hooks.fancy-pypi-readme, the replacement of {each['pattern']}", each["replacement"]


def placeholders(settings: Mapping[str, Any]) -> Iterator[str]:
    """Yield one sentence for each address of `pyproject.toml` that is a placeholder."""
    for name, text in _addresses(settings):
        found = PLACEHOLDER.search(text)
        if found:
            yield f"pyproject.toml: {name} names {found[0]}, a placeholder; write the public address"


def strangers(settings: Mapping[str, Any]) -> Iterator[str]:
    """Yield one sentence for each address that the README's links get and that is not in the repository."""
    repository = settings["project"]["urls"]["Repository"]
    for name, text in _addresses(settings):
        for url in re.findall(r"https://[^$\s\"']+", text) if name.startswith("tool.") else ():
            if not url.startswith(f"{repository}/"):
                yield f"pyproject.toml: {name} leads to {url}, and project.urls.Repository is {repository}"


def metadata_of(wheel: Path) -> EmailMessage:
    """Return the metadata of a built wheel. Its payload is the description."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return message_from_bytes(archive.read(name), policy=default)


def description_of(wheel: Path) -> str:
    """Return the page that an index shows."""
    payload = metadata_of(wheel).get_payload(decode=True)
    assert isinstance(payload, bytes)
    return payload.decode()


def dead_links(description: str) -> Iterator[str]:
    """Yield each target of a link or picture that is dead on a page without the tree."""
    page = markdown.read(description)
    targets = [target for _, target in markdown.links(page)]
    targets += [target for _, line in page.prose for target in _ATTRIBUTE.findall(line)]
    yield from (target for target in targets if not target.startswith(_ABSOLUTE))
