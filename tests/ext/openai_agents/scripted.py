"""Models that answer by a script, and what their tools were asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agents import Model, ModelResponse, ShellCallOutcome, ShellCommandOutput, ShellResult, Usage
from agents.testing import assistant_message, function_call
from agents.testing.model import ScriptedModel

from romancy import in_workflow

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

__all__ = ["Script", "Scripted", "call", "one_of_each", "seen", "shell"]

seen: list[str] = []
"""What models and tools were asked, in this order."""


class Scripted(Model):
    """A model that answers by the turn, which it counts in what it is asked."""

    def __init__(self, answers: Callable[[int, list[Any]], list[Any]]) -> None:
        self._answers = answers

    async def get_response(self, system_instructions: Any, input: Any, *args: Any, **kwargs: Any) -> ModelResponse:
        assert not in_workflow()
        items = [] if isinstance(input, str) else list(input)
        outputs = [one for one in items if one.get("type") == "function_call_output"]
        turn = sum(one.get("type") == "function_call" or one.get("role") == "assistant" for one in items)
        said = self._answers(turn, outputs)
        return ModelResponse(output=said, usage=Usage(requests=1, total_tokens=7), response_id=None)

    async def stream_response(
        self, system_instructions: Any, input: Any, model_settings: Any, *args: Any, **kwargs: Any
    ) -> AsyncIterator[Any]:
        response = await self.get_response(system_instructions, input)
        script = ScriptedModel([response.output])
        async for event in script.stream_response(system_instructions, input, model_settings, *args, **kwargs):
            seen.append(event.type)
            yield event


class Script(Scripted):
    """One call of each, then what came back."""

    async def get_response(self, system_instructions: Any, input: Any, *args: Any, **kwargs: Any) -> ModelResponse:
        items = [] if isinstance(input, str) else list(input)
        outputs = [one for one in items if str(one.get("type")).endswith("_output")]
        said = self._answers(len(outputs), outputs)
        return ModelResponse(output=said, usage=Usage(), response_id=None)


def call(name: str, call_id: str, **arguments: Any) -> Any:
    return function_call(name, arguments, call_id=call_id)


def one_of_each(count: int, outputs: list[Any]) -> list[Any]:
    from openai.types.responses import ResponseCustomToolCall, ResponseFunctionShellToolCall  # noqa: PLC0415

    if count:
        return [assistant_message(str([one["output"] for one in outputs]))]
    shell_call = ResponseFunctionShellToolCall.model_validate({
        "id": "s", "call_id": "s", "type": "shell_call", "status": "completed",
        "action": {"commands": ["ls"], "timeout_ms": None, "max_output_length": None}, "environment": None,
    })  # fmt: skip
    custom_call = ResponseCustomToolCall(call_id="u", input="given", name="mine", type="custom_tool_call")
    return [shell_call, custom_call, call("shows", "i"), call("odd", "o")]


async def shell(request: Any) -> ShellResult:
    seen.append(request.data.action.commands[0])
    outcome = ShellCallOutcome(type="exit", exit_code=3)
    return ShellResult(output=[ShellCommandOutput(stdout="listed", outcome=outcome)])
