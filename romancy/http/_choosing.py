"""The parameters that choose instances: what the document says of them, and the filter that a request makes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from romancy.errors import QueryError
from romancy.managing.typed_conditions import read_conditions, read_headers
from romancy.query import InstanceFilter, told_as
from romancy.storage.query import MAX_IDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from romancy.http._asking import Asked

__all__ = ["CHOOSING", "NAMES", "SEVERAL", "SINGLE", "chosen"]

_TEXT: Final = {"type": "string"}
_TEXTS: Final = {"type": "array", "items": _TEXT}
_TIME: Final = {"type": "string", "format": "date-time"}
_ID: Final = {"type": "string", "minLength": 1, "maxLength": 255}
CHOOSING: Final[Mapping[str, tuple[Mapping[str, Any], str]]] = {
    "where": (_TEXTS, "PATH=VALUE of the input, or != > >= < <= ^= *=; all that are given must hold"),
    "header": (_TEXTS, "NAME=VALUE of a header of the start; all that are given must hold"),
    "workflow": (_TEXT, "a part of the workflow's name, without case"),
    "status": (_TEXT, "one or several, with commas"),
    "id": (_TEXT, "a part of the id, without case"),
    "started_after": (_TIME, "started then or later"),
    "started_before": (_TIME, "started before"),
    "ended_after": (_TIME, "ended then or later"),
    "ended_before": (_TIME, "ended before"),
    "parent": (_ID, "the children of the instance with this whole id"),
    "top_level": ({"type": "boolean"}, "true: only instances without a parent"),
    "error": (_TEXT, "a part of the error text, whose case counts, or a group of /failures"),
    "exact_id": ({"type": "array", "items": _ID, "maxItems": MAX_IDS}, "these whole ids"),
}
"""The schema and the description of each. An array is a parameter that may be repeated."""
SEVERAL: Final = tuple(name for name, (schema, _) in CHOOSING.items() if schema["type"] == "array")
SINGLE: Final = tuple(name for name in CHOOSING if name not in SEVERAL)

NAMES: Final = {
    "where": "where",
    "headers": "header",
    "workflow_name": "workflow",
    "instance_id": "id",
    "ids": "exact_id",
    "page_token": "page",
}
"""The parameters by the names of the arguments, where an error would name another one, or none."""


def chosen(asked: Asked) -> InstanceFilter:
    """The filter of a request. QueryError, or Refused, names the parameter that is wrong."""
    with told_as(NAMES):
        return InstanceFilter(
            _read("where", read_conditions, asked),
            workflow_name=asked.text("workflow"),
            status=asked.statuses("status"),
            instance_id=asked.text("id"),
            started_after=asked.moment("started_after"),
            started_before=asked.moment("started_before"),
            ended_after=asked.moment("ended_after"),
            ended_before=asked.moment("ended_before"),
            parent=asked.text("parent"),
            top_level=asked.flag("top_level"),
            ids=asked.texts("exact_id"),
            error=asked.text("error"),
            headers=_read("header", read_headers, asked),
        )


def _read(name: str, read: Callable[[Iterable[str]], dict[str, Any]], asked: Asked) -> dict[str, Any]:
    try:
        return read(asked.texts(name) or ())
    except QueryError as error:
        raise QueryError(f"{name} {error}") from None
