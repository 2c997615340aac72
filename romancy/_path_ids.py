"""Routes whose parameters are any text, for HTTP servers: ids may hold slashes and line breaks.

Starlette's own `path` ends at a line break. It then finds no route, or another instance.
"""

from __future__ import annotations

import re
from typing import Any

from starlette.routing import Route

__all__ = ["AnyTextRoute"]


class AnyTextRoute(Route):
    """A route. A parameter of the kind `path` takes line breaks too."""

    def __init__(self, path: str, endpoint: Any, *, methods: list[str] | None = None) -> None:
        super().__init__(path, endpoint, methods=methods)
        self.path_regex = re.compile(self.path_regex.pattern.removesuffix("$") + r"\Z", re.DOTALL)
