"""What steps of a run return, as JSON, and the same objects again.

Both the first execution and a replay read what is in the log, so the run sees the same in both. An answer is read as
the client of OpenAI reads one: providers send more than the types know.
"""

from __future__ import annotations

from functools import cache
from math import isfinite
from typing import Any, Final, cast

from agents import ModelResponse, ToolOutputFileContent, ToolOutputImage, ToolOutputText, Usage
from agents.editor import ApplyPatchResult
from agents.items import TResponseOutputItem, TResponseStreamEvent
from agents.tool import ShellResult
from openai._models import construct_type
from openai.types.responses import Response
from pydantic import BaseModel, TypeAdapter

__all__ = [
    "event_from",
    "event_of",
    "output_from",
    "output_of",
    "patched_from",
    "patched_of",
    "response_from",
    "response_of",
    "shell_from",
    "shell_of",
]

_OUTPUTS: Final[dict[str, type[BaseModel]]] = {
    "text": ToolOutputText,
    "image": ToolOutputImage,
    "file": ToolOutputFileContent,
}
_KINDS: Final = (ToolOutputText, ToolOutputImage, ToolOutputFileContent)
_MOST_INT: Final = 2**63


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _dumped(value: BaseModel) -> dict[str, Any]:
    return value.model_dump(mode="json", exclude_unset=True, by_alias=True, warnings=False)


# ── answers of models ───────────────────────────────────────────────────────────────────────────────────────────────


def response_of(response: ModelResponse) -> dict[str, Any]:
    return {
        "output": [_dumped_item(item) for item in response.output],
        "usage": _adapter(Usage).dump_python(response.usage, mode="json", warnings=False),
        "response_id": response.response_id,
        "request_id": response.request_id,
        "raw_usage": response.raw_usage if hasattr(response, "raw_usage") else None,
    }


def _dumped_item(item: Any) -> dict[str, Any]:
    return _dumped(item) if isinstance(item, BaseModel) else {"plain": item}


def response_from(stored: dict[str, Any]) -> ModelResponse:
    response = ModelResponse(
        output=[_item(each) for each in stored["output"]],
        usage=_adapter(Usage).validate_python(stored["usage"]),
        response_id=stored["response_id"],
        request_id=stored["request_id"],
    )
    if stored["raw_usage"] is not None:
        response.raw_usage = stored["raw_usage"]
    return response


def _item(stored: dict[str, Any]) -> Any:
    if "type" not in stored and "plain" in stored:
        return stored["plain"]
    return construct_type(type_=TResponseOutputItem, value=stored)


def event_of(event: Any) -> dict[str, Any]:
    """An event of a stream. That of the end has the id of its request beside it, which no field has."""
    stored = _dumped(event)
    request_id = getattr(getattr(event, "response", None), "_request_id", None)
    return stored if request_id is None else stored | {"romancy_request_id": request_id}


def event_from(stored: dict[str, Any]) -> TResponseStreamEvent:
    request_id = stored.pop("romancy_request_id", None)
    event: Any = construct_type(type_=TResponseStreamEvent, value=stored)
    if request_id is not None and isinstance(getattr(event, "response", None), Response):
        vars(event.response)["_request_id"] = request_id
    return cast("TResponseStreamEvent", event)


# ── results of tools ────────────────────────────────────────────────────────────────────────────────────────────────


def output_of(value: Any) -> dict[str, Any]:
    """What a tool has returned: JSON and the outputs of the SDK as themselves, all else as the text the model gets."""
    if isinstance(value, _KINDS):
        return {"output": value.model_dump(mode="json")}
    if isinstance(value, list) and value and all(isinstance(one, _KINDS) for one in cast("list[object]", value)):
        return {"outputs": [one.model_dump(mode="json") for one in cast("list[BaseModel]", value)]}
    return _plain_of(cast("object", value))


def _plain_of(value: object) -> dict[str, Any]:
    return {"json": value} if _is_json(value) else {"text": str(value)}


def output_from(stored: dict[str, Any]) -> Any:
    match stored:
        case {"output": one}:
            return _OUTPUTS[one["type"]].model_validate(one)
        case {"outputs": many}:
            return [_OUTPUTS[one["type"]].model_validate(one) for one in many]
        case {"text": text}:
            return text
        case _:
            return stored["json"]


def _is_json(value: object) -> bool:
    """Whether it comes back from JSON as it is."""
    kind = type(value)
    if value is None or kind is bool:
        return True
    if kind is str:
        return _is_text(cast("str", value))
    if kind is int:
        return -_MOST_INT <= cast("int", value) < _MOST_INT
    if kind is float:
        return isfinite(cast("float", value))
    if kind is list:
        return all(map(_is_json, cast("list[object]", value)))
    if kind is not dict:
        return False
    return all(
        type(key) is str and _is_text(key) and _is_json(each) for key, each in cast("dict[Any, Any]", value).items()
    )


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def shell_of(value: object) -> dict[str, Any]:
    if isinstance(value, ShellResult):
        return {"shell": _adapter(ShellResult).dump_python(value, mode="json")}
    return {"text": str(value)}


def shell_from(stored: dict[str, Any]) -> Any:
    return _adapter(ShellResult).validate_python(stored["shell"]) if "shell" in stored else stored["text"]


def patched_of(value: object) -> dict[str, Any]:
    if isinstance(value, ApplyPatchResult):
        return {"status": value.status, "output": value.output}
    return {"text": value if value is None else str(value)}


def patched_from(stored: dict[str, Any]) -> Any:
    return ApplyPatchResult(stored["status"], stored["output"]) if "status" in stored else stored["text"]
