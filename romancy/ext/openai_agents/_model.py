"""A model whose calls are steps of the workflow whose body runs the agent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import httpx2
from agents import Model, ModelProvider
from agents.models._retry_runtime import provider_managed_retries_disabled
from openai import APIConnectionError

from romancy.ext._agents.shown import text_of, with_prompts
from romancy.ext.openai_agents._events import write_model_event
from romancy.ext.openai_agents._values import event_from, event_of, response_from, response_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from agents import ModelResponse, TResponseInputItem, TResponseStreamEvent
    from agents.retry import ModelRetryAdvice, ModelRetryAdviceRequest

    from romancy.ext.openai_agents._run import Running

__all__ = ["DurableModel", "DurableProvider"]

_ENDS: Final = frozenset({"response.completed", "response.incomplete", "response.failed"})
_REQUEST: Final = httpx2.Request("POST", "https://provider.invalid/")


class DurableProvider(ModelProvider):
    """Finds models whose calls are steps. The provider itself is only asked in a step."""

    def __init__(self, run: Running, provider: ModelProvider) -> None:
        self._run = run
        self._provider = provider

    @property
    def itself(self) -> ModelProvider:
        """The provider of the program."""
        return self._provider

    def get_model(self, model_name: str | None) -> Model:
        return DurableModel(self._run, lambda: self._provider.get_model(model_name), model_name or "")


class DurableModel(Model):
    """A model of one run."""

    def __init__(self, run: Running, find: Callable[[], Model], name: str) -> None:
        self._run = run
        self._find = find
        self._name = name

    @classmethod
    def of(cls, run: Running, model: Model) -> DurableModel:
        found = model.itself if isinstance(model, DurableModel) else model
        return cls(run, lambda: found, type(found).__name__)

    @property
    def itself(self) -> Model:
        """The model of the program."""
        return self._find()

    def get_retry_advice(self, request: ModelRetryAdviceRequest) -> ModelRetryAdvice | None:
        return self._find().get_retry_advice(request)

    async def get_response(
        self, system_instructions: str | None, input: str | list[TResponseInputItem], *args: Any, **kwargs: Any
    ) -> ModelResponse:
        async def request() -> dict[str, Any]:
            with provider_managed_retries_disabled(disabled=True):
                return response_of(await self._find().get_response(system_instructions, input, *args, **kwargs))

        return response_from(await self._step(request, input))

    async def stream_response(  # pyright: ignore[reportUnknownParameterType] - a type of the SDK
        self, system_instructions: str | None, input: str | list[TResponseInputItem], *args: Any, **kwargs: Any
    ) -> AsyncIterator[TResponseStreamEvent]:
        """The end of the stream, which has the whole answer. Its other events are live, on the run's stream."""
        run = self._run
        agent = run.agent

        async def request() -> dict[str, Any]:
            end: Any = None
            done: list[Any] = []
            with provider_managed_retries_disabled(disabled=True):
                stream: Any = self._find().stream_response(system_instructions, input, *args, **kwargs)
                try:
                    async for event in stream:
                        if run.stream is not None:
                            write_model_event(run.stream, agent, run.id, event)
                        if event.type in _ENDS:
                            end = event
                        elif event.type == "response.output_item.done":
                            done.append(event.item)
                finally:
                    if hasattr(stream, "aclose"):
                        await stream.aclose()
            if end is None:
                raise APIConnectionError(message="the stream has ended before the answer", request=_REQUEST)
            if end.type == "response.completed" and not end.response.output:
                end.response.output = done
            return event_of(end)

        yield event_from(await self._step(request, input))

    async def _step(self, request: Any, asked: str | list[TResponseInputItem]) -> Any:
        run = self._run
        about = run.told(model=self._name)
        if run.how.show_prompts:
            about = with_prompts(about, _prompts(asked))
        return await run.step(f"{run.agent}.model", request, run.how.model, about)


def _prompts(asked: str | list[TResponseInputItem]) -> Iterator[tuple[str, str]]:
    """What people have said since the model answered last."""
    if isinstance(asked, str):
        yield "user", asked
        return
    last: list[tuple[str, str]] = []
    for item in asked:
        each: dict[str, Any] = dict(item)
        role = each.get("role")
        if role in ("user", "system", "developer"):
            last.append((role, text_of(each.get("content"))))
        elif role == "assistant" or each.get("type") in ("function_call", "reasoning"):
            last.clear()
    yield from last
