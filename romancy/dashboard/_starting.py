"""Starting a workflow with a form made from its input type. It needs the app: a URL alone has no code."""

from __future__ import annotations

import enum
import types
import typing
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, get_args, get_origin

import msgspec
from starlette.responses import RedirectResponse

from romancy.dashboard._acting import audit, field_of
from romancy.dashboard._pages import render
from romancy.dashboard._refused import RefusedError, bad_request, not_found
from romancy.dashboard._visit import visit_of
from romancy.errors import RomancyError, StorageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from romancy.app import Romancy
    from romancy.dashboard._guard import Form
    from romancy.workflow import Workflow

__all__ = ["start_page"]

_NUMBERS: Final = (int, float)


class Field(NamedTuple):
    """An input of the form, for one parameter."""

    name: str
    kind: Literal["text", "number", "choice", "json"]
    type: str
    """As a person writes it."""
    required: bool
    choices: tuple[str, ...] = ()


async def start_page(request: Request, app: Romancy | None) -> Response:
    """The form of the workflow that the URL names, or the names of all; a POST starts it."""
    if app is None:
        raise not_found("A URL alone brings no workflows: run `romancy ui MODULE:APP` to start some.")
    name = request.query_params.get("workflow", "")
    if not name:
        return render(request, "start.html", names=sorted(app.workflows), workflow=None, fields=[], form={}, fault=None)
    workflow = app.workflows.get(name)
    if workflow is None:
        raise not_found("There is no workflow of this name.")
    fields = _fields(workflow)
    form: Form | None = request.state.form if request.method == "POST" else None
    fault: str | None = None
    if form is not None:
        try:
            handle = await _start(app, workflow, fields, form)
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
        names=[], workflow=workflow, fields=fields, form=form or {}, fault=fault,
    )  # fmt: skip


async def _start(app: Romancy, workflow: Workflow[..., Any], fields: list[Field], form: Form) -> str:
    given = {field.name: value for field in fields if (value := _json_of(field, form)) is not None}
    if len(fields) == 1 and given:
        (raw,) = given.values()
    else:
        raw = b"{" + b",".join(msgspec.json.encode(name) + b":" + value for name, value in given.items()) + b"}"
    args, kwargs = workflow.signature.decode_arguments(msgspec.Raw(raw)) if given else ((), {})
    chosen = field_of(form, "romancy-id").strip() or None
    handle = await app.start_many([workflow.options(instance_id=chosen).bind(*args, **kwargs)], if_exists="refuse")
    return handle[0].instance_id


def _json_of(field: Field, form: Form) -> bytes | None:
    """The value of a field as JSON. None: it is left out, and the parameter's default counts."""
    text = field_of(form, f"in-{field.name}")
    if field.kind == "text":
        return None if not text and not field.required else msgspec.json.encode(text)
    if not text.strip():
        if field.required:
            raise bad_request(f"{field.name} is missing.")
        return None
    if field.kind == "choice" and text not in field.choices:
        raise bad_request(f"{field.name} is none of its choices.")
    try:
        msgspec.json.decode(text)
        return text.encode()
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError) as error:
        raise bad_request(f"{field.name} is no JSON ({error}).") from None


def _fields(workflow: Workflow[..., Any]) -> list[Field]:
    try:
        hints: Mapping[str, Any] = typing.get_type_hints(workflow.fn)
    except Exception:  # noqa: BLE001 - annotations of the user's may name what is not there
        hints = {}
    return [
        _field(each.name, hints.get(each.name, Any), required=each.required) for each in workflow.signature.parameters
    ]


def _field(name: str, declared: Any, *, required: bool) -> Field:
    """The input that fits a type. What has no input of its own is written as JSON."""
    shown = declared.__name__ if isinstance(declared, type) and not get_args(declared) else str(declared)
    shown = shown.replace("typing.", "")
    plain = declared
    options = [each for each in get_args(declared) if each is not type(None)]
    if get_origin(declared) in (typing.Union, types.UnionType) and len(options) == 1 and not required:
        plain = options[0]
    if plain is str:
        return Field(name, "text", shown, required)
    if plain is bool:
        return Field(name, "choice", shown, required, ("true", "false"))
    if plain in _NUMBERS:
        return Field(name, "number", shown, required)
    if get_origin(plain) is Literal:
        return Field(name, "choice", shown, required, tuple(_as_json(value) for value in get_args(plain)))
    if isinstance(plain, type) and issubclass(plain, enum.Enum):
        return Field(name, "choice", shown, required, tuple(_as_json(one.value) for one in plain))
    return Field(name, "json", shown, required)


def _as_json(value: object) -> str:
    return msgspec.json.encode(value).decode()
