"""Going back for scripts of operators: fork an instance, rewind it, or be shown what either would keep and cut off."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias, TypeVar

import msgspec
from msgspec import Raw

from romancy.errors import SerializationError, UsageError
from romancy.going_back import ForkChildren, RewindUndo
from romancy.http._answers import accepted, answer
from romancy.http._asking import Asked
from romancy.http._json import checked
from romancy.http._permits import check_steps
from romancy.http._refusal import Refused, not_an_event
from romancy.http._routes import ManagementRoute
from romancy.serialization import WRITTEN_BEFORE
from romancy.storage.limits import check_id

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from starlette.requests import Request
    from starlette.responses import Response

    from romancy.app import Romancy
    from romancy.http._accepting import Accepting
    from romancy.http._bodies import Bodies
    from romancy.status import Status

__all__ = ["GoingBack"]

T = TypeVar("T")
P = TypeVar("P", bound="_Point")

_LETTING_GO: Final = 15.0
"""Seconds more for a rewind: a worker that holds the instance has ten of them to let go of it."""


_Commit: TypeAlias = Annotated[int, msgspec.Meta(ge=1, lt=1 << 62)]


class _Point(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    before: str | None = None
    at: _Commit | None = None
    children: ForkChildren = "keep"
    dry_run: bool = False


class _Fork(_Point, forbid_unknown_fields=True, kw_only=True):
    id: str | None = None
    input: Raw = Raw(b"null")


class _Rewind(_Point, forbid_unknown_fields=True, kw_only=True):
    undo: RewindUndo = "refuse"


class GoingBack:
    """The routes of forks and rewinds."""

    def __init__(self, app: Romancy, accepting: Accepting, bodies: Bodies) -> None:
        self._app = app
        self._accepting = accepting
        self._bodies = bodies

    def routes(self) -> list[ManagementRoute]:
        """The routes. They come behind those of signals and requests, which may have these names."""
        instance = "/instances/{instance_id:path}"
        return [
            ManagementRoute("POST", f"{instance}/fork", self.fork, "fork"),
            ManagementRoute("POST", f"{instance}/rewind", self.rewind, "rewind"),
        ]

    async def fork(self, request: Request) -> Response:
        """`POST /instances/{id}/fork`: 202 with the id of the fork, or 200 with the plan. 409 if there can be none."""
        instance_id = self._named(request)
        async with self._bodies.read(request) as body:
            asked = _read(body, _Fork)
            if asked.id is not None:
                check_id(asked.id, "id")
            if asked.dry_run:
                plan = self._app.plan_fork(instance_id, before=asked.before, at=asked.at, children=asked.children)
                return answer(await self._done(plan))
            input = await self._input(instance_id, asked.input)
            made = await self._done(
                self._app.fork(
                    instance_id, before=asked.before, at=asked.at, input=input, id=asked.id, children=asked.children
                )
            )
        return answer(accepted(made), HTTPStatus.ACCEPTED)

    async def rewind(self, request: Request) -> Response:
        """`POST /instances/{id}/rewind`: 200 with the status, or with the plan. 409 if it cannot be rewound."""
        instance_id = self._named(request)
        async with self._bodies.read(request) as body:
            asked = _read(body, _Rewind)
            if asked.dry_run:
                plan = self._app.plan_rewind(
                    instance_id, before=asked.before, at=asked.at, undo=asked.undo, children=asked.children
                )
                return answer(await self._done(plan))
            status = await self._done(self._rewound(instance_id, asked), longer=_LETTING_GO)
        return answer({"status": str(status), "instance_id": instance_id})

    async def _rewound(self, instance_id: str, asked: _Rewind) -> Status:
        await self._app.rewind(instance_id, before=asked.before, at=asked.at, undo=asked.undo, children=asked.children)
        return await self._app.handle(instance_id).status()

    def _named(self, request: Request) -> str:
        """The id of the instance. Raises Refused for who may not see its steps, which plans and refusals name."""
        Asked(request, ())
        check_steps(request, self._app)
        instance_id: str = request.path_params["instance_id"]
        check_id(instance_id)
        return instance_id

    async def _input(self, instance_id: str, given: Raw) -> dict[str, Any] | None:
        """The new arguments by their names. None if there are none, or nobody to give them to, as the fork says."""
        if bytes(given) == b"null":
            return None
        found = await self._accepting.in_time(self._app.get_instance(instance_id))
        workflow = None if found is None else self._app.workflows.get(found.workflow_name)
        if workflow is None:
            return None
        try:
            return workflow.signature.by_name(*workflow.signature.read_given(given))
        except SerializationError as error:
            raise not_an_event(str(error).removesuffix(f"; {WRITTEN_BEFORE}"), type(error).__name__) from None

    async def _done(self, call: Awaitable[T], *, longer: float = 0.0) -> T:
        async def conflicts() -> T:
            try:
                return await call
            except UsageError as error:
                if type(error) is not UsageError:
                    raise
                raise Refused(HTTPStatus.CONFLICT, str(error), "UsageError") from None

        done: T = await self._accepting.in_time(conflicts(), longer=longer)
        return done


def _read(body: bytes, kind: type[P]) -> P:
    """What a request wants. Raises Refused for what is no such object, or names no point or two."""
    given = body if body.strip() else b"{}"
    checked(given, "the body")
    try:
        asked = msgspec.json.decode(given, type=kind)
    except msgspec.DecodeError as error:
        raise not_an_event(f'the body: {error!s:.300}; send an object like {{"before": "charge:2"}}') from None
    if (asked.before is None) == (asked.at is None):
        raise not_an_event('the body names one point: "before", a step, or "at", the number of a commit')
    return asked
