"""Requests to instances over HTTP: sent by POST, and answered in the response if the answer comes in time."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from romancy.errors import (
    InstanceEndedError,
    RequestFailedError,
    RequestRefusedError,
    RequestTimeoutError,
    RequestUnansweredError,
)
from romancy.http._answers import answer
from romancy.http._asking import Asked
from romancy.http._bodies import data_of
from romancy.http._decisions import typed
from romancy.http._permits import check_replies, check_topic
from romancy.http._routes import ManagementRoute

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from romancy.app import Romancy
    from romancy.http._accepting import Accepting
    from romancy.http._bodies import Bodies
    from romancy.http._waits import Waits
    from romancy.messages.requests import Asked as AskedInstance

__all__ = ["Requesting"]


class Requesting:
    """The route that asks an instance by its id."""

    def __init__(self, app: Romancy, accepting: Accepting, bodies: Bodies, waits: Waits, *, max_wait: float) -> None:
        self._app = app
        self._accepting = accepting
        self._bodies = bodies
        self._waits = waits
        self._max_wait = max_wait

    def routes(self) -> list[ManagementRoute]:
        """The route."""
        path = "/instances/{instance_id:path}/requests/{name}"
        return [ManagementRoute("POST", path, self.ask, "signal")]

    async def ask(self, request: Request) -> Response:
        """`POST /instances/{id}/requests/{name}?timeout=&id=`: the body is the data.

        200 with what became of it, 202 if there is no answer within the time: the same call with the `id` of the
        response finds it later.
        """
        given = Asked(request, ("timeout", "id"))
        instance_id, name = request.path_params["instance_id"], request.path_params["name"]
        check_topic(request, name)
        check_replies(request, self._app)
        timeout = given.seconds("timeout", self._max_wait)
        async with self._bodies.read(request) as body:
            data = typed(data_of(request, body, "the data"), object, f"data of the request {name!r}")
            asked = await self._accepting.in_time(self._app.ask(instance_id, name, data, id=given.text("id")))
        told: dict[str, Any] = {"status": "accepted"}
        if timeout:
            self._waits.check()
            with self._waits.place():
                told = await self._waits.unless_gone(request, _answer_of(asked, timeout)) or told
        accepted = told["status"] == "accepted"
        status = HTTPStatus.ACCEPTED if accepted else HTTPStatus.OK
        return answer({"instance_id": instance_id, "id": asked.id, **told}, status)


async def _answer_of(asked: AskedInstance[Any], timeout: float) -> dict[str, Any]:
    try:
        return {"status": "answered", "reply": await asked.reply(timeout)}
    except RequestTimeoutError:
        return {"status": "accepted"}
    except RequestRefusedError as error:
        return {"status": "refused", "error": str(error), "error_type": error.error_type}
    except RequestFailedError as error:
        return {"status": "failed", "error": str(error), "error_type": error.error_type}
    except (RequestUnansweredError, InstanceEndedError) as error:
        return {"status": "unanswered", "error": str(error)}
