"""Routes whose parameters are any text, for HTTP servers: ids may hold slashes and line breaks.

Starlette's own `path` ends at a line break. It then finds no route, or another instance. A server gives the path with
`%2F` as a slash. The raw path tells the slashes of an id from those of the route, as in `/instances/job%2Fresult`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from starlette.routing import Route

if TYPE_CHECKING:
    from starlette.routing import Match
    from starlette.types import Scope

__all__ = ["AnyTextRoute"]


_QUOTED: Final = re.compile("%2f", re.IGNORECASE)
_SLASH: Final = "\0"
"""What stands for a quoted slash while routes are compared: no id holds it."""


class AnyTextRoute(Route):
    """A route. A parameter of the kind `path` takes line breaks too, and slashes that are quoted belong to it."""

    def __init__(self, path: str, endpoint: Any, *, methods: list[str] | None = None) -> None:
        super().__init__(path, endpoint, methods=methods)
        self.path_regex = re.compile(self.path_regex.pattern.removesuffix("$") + r"\Z", re.DOTALL)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """As any route does, with quoted slashes as parts of the parameters."""
        path = _with_quoted_slashes(scope)
        if path is None:
            return super().matches(scope)
        match, found = super().matches({**scope, "path": path})
        parameters: dict[str, Any] = found.get("path_params", {})
        for name, value in parameters.items():
            if isinstance(value, str):
                parameters[name] = value.replace(_SLASH, "/")
        return match, found


def _with_quoted_slashes(scope: Scope) -> str | None:
    """The path with another character for each quoted slash. None if there are none, or the server does not say."""
    raw = scope.get("raw_path")
    if not isinstance(raw, bytes) or b"%2" not in raw:
        return None
    quoted = raw.decode("latin-1").partition("?")[0]
    path = unquote(_QUOTED.sub("%00", quoted))
    return path if _SLASH in path and path.replace(_SLASH, "/") == scope["path"] else None
