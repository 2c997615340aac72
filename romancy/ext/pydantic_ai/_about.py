"""What the steps of an agent are shown with: which run and turn made them, and what was asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

import msgspec
from pydantic_ai import RunContext
from pydantic_ai.durable_exec import ModelRequestId, ToolsetCallToolId
from pydantic_ai.messages import ModelRequest, SystemPromptPart, UserPromptPart

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pydantic_ai.durable_exec import DurableOperationId

__all__ = ["about_of"]

_LARGEST: Final = 16_000
_CUTS: Final = (8_000, 2_000, 400)
"""How many characters of a prompt are shown, if all of them do not fit."""
_MOST_PROMPTS: Final = 12


def about_of(operation_id: DurableOperationId, inputs: tuple[object, ...], agent: str, *, prompts: bool) -> object:
    """`inputs` are what pydantic-ai names as the inputs of the operation."""
    told: dict[str, Any] = {"agent": agent}
    run = _first(RunContext, inputs)
    if run is not None:
        told |= {"run": run.run_id, "turn": run.run_step}
    if isinstance(operation_id, ToolsetCallToolId) and run is not None:
        told |= {"tool": run.tool_name, "call": run.tool_call_id}
    if not isinstance(operation_id, ModelRequestId):
        return told
    told["model"] = operation_id.model_name
    if not prompts:
        return told
    asked = list(_prompts(_first(list, inputs) or []))[-_MOST_PROMPTS:]
    for cut in _CUTS:
        shown = told | {"prompts": [[role, text if len(text) <= cut else f"{text[:cut]}…"] for role, text in asked]}
        if asked and len(msgspec.json.encode(shown)) <= _LARGEST:
            return shown
    return told


def _first(kind: type[Any], inputs: tuple[object, ...]) -> Any:
    return next((one for one in inputs if isinstance(one, kind)), None)


def _prompts(messages: list[object]) -> Iterator[tuple[str, str]]:
    """What the last request says beside the results of tools, which their own steps have."""
    last = next((one for one in reversed(messages) if isinstance(one, ModelRequest)), None)
    for part in () if last is None else last.parts:
        match part:
            case UserPromptPart(content=content):
                yield "user", _text(content)
            case SystemPromptPart(content=content):
                yield "system", _text(content)
            case _:
                continue


def _text(content: object) -> str:
    """The text of a prompt. Of an image or a file, only its kind."""
    if isinstance(content, str):
        return content
    many = cast("Iterable[object]", content) if isinstance(content, (list, tuple)) else (content,)
    return "\n".join(one if isinstance(one, str) else f"[{type(one).__name__}]" for one in many)
