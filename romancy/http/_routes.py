"""A route of the management: what the modules of this package hand to the application."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from romancy.web.visitor import Action

__all__ = ["ManagementRoute"]


class ManagementRoute(NamedTuple):
    """A method, a path and an endpoint, with what a visitor has to be allowed."""

    method: str
    path: str
    endpoint: Callable[[Request], Awaitable[Response]]
    needs: Action | Literal["payloads"] | None = None
