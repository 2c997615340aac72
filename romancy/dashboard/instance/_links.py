"""Links within the pages of one instance: a URL holds the complete state of a page, so that it can be kept and sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import quote_plus

__all__ = ["VIEWS", "Links"]

VIEWS: Final = {
    "timeline": "Timeline",
    "conversation": "Conversation",
    "graph": "Graph",
    "family": "Parent and children",
    "state": "Time travel",
    "log": "Log",
    "lines": "Log lines",
    "streams": "Streams",
    "compare": "Compare",
}


@dataclass(frozen=True, slots=True)
class Links:
    """Makes the links of one instance's pages."""

    page: str
    """The URL of the instance's page."""

    def to(self, view: str = "timeline", **asked: object) -> str:
        """The URL of a view with these parameters. None and empty texts are left out."""
        chosen = {} if view == "timeline" else {"view": view}
        pairs = chosen | {name.rstrip("_"): value for name, value in asked.items() if value is not None and value != ""}
        if not pairs:
            return self.page
        asked_for = "&".join([f"{name}={quote_plus(str(value))}" for name, value in pairs.items()])
        return f"{self.page}{'&' if '?' in self.page else '?'}{asked_for}"

    def raw(self, name: str, place: str = "") -> str:
        """All of a payload, as a download."""
        return self.to("raw", at=place, field=name)
