"""Chat models of the tests, which answer without a network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult

if TYPE_CHECKING:
    from langchain_core.runnables import Runnable

Answering = Callable[[list[BaseMessage]], AIMessage]


class FakeModel(BaseChatModel):
    """Answers as a function does."""

    answers: Answering

    @property
    def _llm_type(self) -> str:
        return "fake"

    def _generate(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self.answers(messages))])

    async def _agenerate(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        return self._generate(messages)

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Runnable[Any, Any]:
        return self


def calls(*wanted: tuple[str, dict[str, Any]], text: str = "") -> AIMessage:
    made = [
        {"name": name, "args": args, "id": f"{name}-{at}", "type": "tool_call"}
        for at, (name, args) in enumerate(wanted)
    ]
    return AIMessage(text, tool_calls=made, usage_metadata={"input_tokens": 7, "output_tokens": 3, "total_tokens": 10})


def turns(messages: Sequence[BaseMessage]) -> int:
    """How often the model has answered before."""
    return sum(isinstance(one, AIMessage) for one in messages)


def returned(messages: Sequence[BaseMessage]) -> list[str]:
    """What the tools of the last turn have returned."""
    found: list[str] = []
    for one in reversed(messages):
        if not isinstance(one, ToolMessage):
            break
        found.insert(0, str(one.text))
    return found
