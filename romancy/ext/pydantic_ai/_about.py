"""What the steps of an agent are shown with: which run and turn made them, and what was asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic_ai import RunContext
from pydantic_ai.durable_exec import ModelRequestId, ToolsetCallToolId
from pydantic_ai.messages import ModelRequest, SystemPromptPart, UserPromptPart

from romancy.ext._agents.shown import text_of, with_prompts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic_ai.durable_exec import DurableOperationId

__all__ = ["about_of"]


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
    return with_prompts(told, _prompts(_first(list, inputs) or []))


def _first(kind: type[Any], inputs: tuple[object, ...]) -> Any:
    return next((one for one in inputs if isinstance(one, kind)), None)


def _prompts(messages: list[object]) -> Iterator[tuple[str, str]]:
    """What the last request says beside the results of tools, which their own steps have."""
    last = next((one for one in reversed(messages) if isinstance(one, ModelRequest)), None)
    for part in () if last is None else last.parts:
        match part:
            case UserPromptPart(content=content):
                yield "user", text_of(content)
            case SystemPromptPart(content=content):
                yield "system", text_of(content)
            case _:
                continue
