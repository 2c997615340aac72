"""The hosts in a storage URL: one or, for servers of which one is the primary, a list."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import unquote, urlsplit

__all__ = ["Host", "cut_hosts", "parse_host"]


class Host(NamedTuple):
    """Where a server listens: a name or an address, or the folder of a Unix socket."""

    name: str
    port: int | None = None

    def __str__(self) -> str:
        name = f"[{self.name}]" if ":" in self.name else self.name
        return name if self.port is None else f"{name}:{self.port}"


def cut_hosts(url: str) -> tuple[str, list[str]]:
    """The URL with only the first host of its list, and the texts of all. An empty list: the URL has no list."""
    beginning = url.index("://") + 3
    end = min((at for at in (url.find(mark, beginning) for mark in "/?#") if at >= 0), default=len(url))
    beginning = max(beginning, url.rfind("@", beginning, end) + 1)
    texts = url[beginning:end].split(",")
    return (url, []) if len(texts) == 1 else (f"{url[:beginning]}{texts[0]}{url[end:]}", texts)


def parse_host(text: str) -> Host | None:
    """The host that `name`, `name:port`, `[address]` or `[address]:port` names. None: the text is empty or malformed.

    The text may be a part of a password that was not percent-encoded: do not repeat it.
    """
    try:
        parts = urlsplit(f"//{text}")
        name, port = parts.hostname, parts.port
    except ValueError:
        return None
    if not name or parts.path or parts.username is not None:
        return None
    return Host(unquote(name), port)
