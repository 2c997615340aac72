"""A browser without scripts: it follows links of the dashboard by what they say."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["clicked"]


async def clicked(client: Any, labels: Sequence[str]) -> str:
    """The text of the page that is reached from the overview by clicking at these links, one after another."""
    page = _Page()
    page.feed((await client.get("/")).text)
    for label in labels:
        found = [target for text, target in page.links if text == label or text.startswith(f"{label} ")]
        assert found, f"no link says {label!r}: {[text for text, _ in page.links]}"
        answer = await client.get(found[0].partition("#")[0])
        assert answer.status_code == 200, answer.text
        page = _Page()
        page.feed(answer.text)
    return " ".join(page.text.split())


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.text = ""
        self.links: list[tuple[str, str]] = []
        self._target: str | None = None
        self._begun = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self._target, self._begun = dict(attrs).get("href"), len(self.text)

    def handle_endtag(self, tag: str) -> None:
        if tag == "a" and self._target is not None:
            self.links.append((" ".join(self.text[self._begun :].split()), self._target))
            self._target = None

    def handle_data(self, data: str) -> None:
        self.text += data
