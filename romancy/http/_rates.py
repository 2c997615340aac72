"""Rates for scripts of operators: what begins, ends and fails in a minute, and what is open, by workflow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from romancy.http._answers import answer
from romancy.http._asking import Asked
from romancy.http._routes import ManagementRoute

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from romancy.app import Romancy
    from romancy.http._accepting import Accepting
    from romancy.rates import WorkflowRates

__all__ = ["Pace"]

_HOUR: Final = 3600.0
_WHEN: Final = ("since", "until", "begun_since", "ended_since", "uncounted")


class Pace:
    """The route of rates. It reads no input and no key."""

    def __init__(self, app: Romancy, accepting: Accepting) -> None:
        self._app = app
        self._accepting = accepting

    def routes(self) -> list[ManagementRoute]:
        """The route."""
        return [ManagementRoute("GET", "/rates", self.list)]

    async def list(self, request: Request) -> Response:
        """`GET /rates?within=`: the workflows of the last so many seconds, that with the oldest instance first."""
        within = Asked(request, ("within",)).seconds("within")
        found = await self._accepting.in_time(self._app.rates(_HOUR if within is None else within))
        return answer(
            {
                "workflows": [_shown(one) for one in found.workflows],
                **{name: getattr(found, name) for name in _WHEN},
            }
        )


def _shown(found: WorkflowRates) -> dict[str, Any]:
    return {**{name: getattr(found, name) for name in found.__struct_fields__}, "change": found.change}
