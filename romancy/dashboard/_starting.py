"""Starting a workflow with a form made from its input type. It needs the app: a URL alone has no code."""

from __future__ import annotations

import asyncio
import typing
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
from starlette.responses import RedirectResponse

from romancy.dashboard._acting import audit, field_of, permit
from romancy.dashboard._fields import Field, field_for, members_of, object_of
from romancy.dashboard._pages import render
from romancy.dashboard._refused import RefusedError, not_found
from romancy.dashboard._times import moment_given
from romancy.dashboard._visit import visit_of
from romancy.errors import RomancyError, StorageError
from romancy.starting.skipping import refuse_if_skipped

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from romancy.app import Romancy
    from romancy.dashboard._guard import Form
    from romancy.workflow import Workflow

__all__ = ["start_page"]

_SOON: Final = 3.0
"""For how long a page waits for a worker. Then the page of the instance shows what becomes of it."""


class _Asked(NamedTuple):
    """The inputs for a workflow."""

    fields: list[Field]
    members: bool
    """Whether the inputs are the members of the only parameter, not the parameters."""


async def start_page(request: Request, app: Romancy | None) -> Response:
    """The form of the workflow that the URL names, or the names of all; a POST starts it."""
    name = request.query_params.get("workflow", "")
    permit(request, "start", name)
    if app is None:
        raise not_found("A URL alone brings no workflows: run `romancy ui MODULE:APP` to start some.")
    if not name:
        return render(request, "start.html", names=sorted(app.workflows), workflow=None, fields=[], form={}, fault=None)
    workflow = app.workflows.get(name)
    if workflow is None:
        raise not_found("There is no workflow of this name.")
    asked = _asked(workflow)
    form: Form | None = request.state.form if request.method == "POST" else None
    fault: str | None = None
    if form is not None:
        try:
            handle = await _start(app, workflow, asked, form)
            await _decided(app, workflow, form, handle)
        except StorageError:
            raise
        except (RefusedError, RomancyError) as error:
            audit(request, "start", name, f"refused ({type(error).__name__})")
            fault = str(error)
        else:
            audit(request, "start", name, f"done: {handle!r}")
            return RedirectResponse(visit_of(request).instance_url(handle), HTTPStatus.SEE_OTHER)
    return render(
        request, "start.html", status=HTTPStatus.OK if fault is None else HTTPStatus.CONFLICT,
        names=[], workflow=workflow, fields=asked.fields, form=form or {}, fault=fault,
    )  # fmt: skip


async def _start(app: Romancy, workflow: Workflow[..., Any], asked: _Asked, form: Form) -> str:
    args, kwargs = _arguments(workflow, asked, form)
    options = workflow.options(
        instance_id=field_of(form, "romancy-id").strip() or None,
        at=moment_given(field_of(form, "romancy-at"), "Not before"),
        priority=_priority(field_of(form, "romancy-priority").strip()),
    )
    handle = await app.start_many([options.bind(*args, **kwargs)], if_exists="refuse")
    return handle[0].instance_id


async def _decided(app: Romancy, workflow: Workflow[..., Any], form: Form, instance_id: str) -> None:
    """Wait for whether the start is skipped, if it is due at once and a worker decides soon.

    Raises StartSkippedError, whose text is what the form shows.
    """
    if not workflow.skips or field_of(form, "romancy-at").strip():
        return
    store = app._access.opened("start")  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - as the app waits
    with suppress(TimeoutError):
        async with asyncio.timeout(_SOON):
            await refuse_if_skipped(store, workflow, instance_id)


def _priority(given: str) -> int | None:
    if not given:
        return None
    try:
        return int(given)
    except ValueError:
        raise RefusedError(HTTPStatus.CONFLICT, "Priority: a whole number from -9 to 9 is expected.") from None


def _arguments(workflow: Workflow[..., Any], asked: _Asked, form: Form) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a form. Raises RefusedError or SerializationError if they do not fit."""
    given = object_of(asked.fields, form)
    if asked.members:
        given = b"{%b:%b}" % (msgspec.json.encode(workflow.signature.names[0]), given)
    return workflow.signature.decode_arguments(msgspec.Raw(given))


def _asked(workflow: Workflow[..., Any]) -> _Asked:
    try:
        hints: Mapping[str, Any] = typing.get_type_hints(workflow.fn)
    except Exception:  # noqa: BLE001 - annotations of the user's may name what is not there
        hints = {}
    parameters = workflow.signature.parameters
    if len(parameters) == 1 and parameters[0].required:
        members = members_of(hints.get(parameters[0].name))
        if members is not None:
            return _Asked(members, members=True)
    return _Asked(
        [field_for(one.name, hints.get(one.name, Any), required=one.required) for one in parameters], members=False
    )
