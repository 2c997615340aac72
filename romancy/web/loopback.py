"""Recognises this machine, for HTTP servers with `auth="local"`: loopback names, proxies, foreign pages. Pure.

Any program on this machine may ask. A proxy may not, since it asks for others; and a web page may not, unless it is one
of the server itself: a browser sends requests for any page that somebody visits.

A proxy on this machine that adds no header and sends a local Host is a program on this machine like any other: whoever
reaches it is taken for one. HTTP/1.0 is refused because nginx speaks it to the servers behind it unless told otherwise,
and hardly any program does; that is a second line, and no way to recognise proxies.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Final, Literal, TypeAlias
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Stranger", "host_of", "is_loopback", "is_of_another_page", "only_host", "stranger"]

Stranger: TypeAlias = Literal["peer", "proxy", "version", "host", "page"]
"""What shows that a request does not come from this machine."""

_HOST: Final = re.compile(r"[A-Za-z0-9._-]+(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?")
_PROXIES: Final = frozenset(
    {
        "cf-connecting-ip", "client-ip", "fastly-client-ip", "fly-client-ip", "forwarded", "forwarded-for",
        "true-client-ip", "via", "x-client-ip", "x-cluster-client-ip", "x-original-forwarded-for", "x-original-host",
        "x-real-ip",
    }
)  # fmt: skip
"""Headers that only proxies send, beside all that begin with `x-forwarded`."""


def stranger(peer: str | None, given: Iterable[tuple[str, str]], version: str) -> Stranger | None:
    """Why this is not a request of a program on this machine; None if it is. `version` is that of HTTP.

    Without a peer, the request came over a socket that only this machine has.
    """
    headers = [(name.lower(), value) for name, value in given]
    if peer is not None and not is_loopback(peer):
        return "peer"
    if any(name in _PROXIES or name.startswith("x-forwarded") for name, _ in headers):
        return "proxy"
    if version == "1.0":
        return "version"
    host = only_host([value for name, value in headers if name == "host"])
    if host is None or not is_loopback(host_of(f"//{host}")):
        return "host"
    return "page" if is_of_another_page(host, headers) else None


def only_host(given: Sequence[str]) -> str | None:
    """The Host of a request, with its port. None unless there is exactly one, well-formed."""
    return given[0] if len(given) == 1 and _HOST.fullmatch(given[0]) else None


def is_of_another_page(host: str, headers: Iterable[tuple[str, str]]) -> bool:
    """Whether a browser says that the request is of a page of another origin than this host, or of a hidden one."""
    given = [(name, value) for name, value in headers if name in {"origin", "sec-fetch-site"}]
    origins = [_place(value) for name, value in given if name == "origin"]
    sites = {value.strip().lower() for name, value in given if name == "sec-fetch-site"}
    return len(origins) > 1 or origins not in ([], [host.lower()]) or not sites <= {"same-origin", "none"}


def _place(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def host_of(url: str) -> str:
    """The host of a URL, or of `//` and a Host header. Empty if there is none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def is_loopback(host: str) -> bool:
    """Whether this name or address is loopback."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
