"""The agent that all libraries run: a model that takes no time, and one tool.

Each driver runs in the environment of its library, with the version of pydantic-ai that this supports. So a driver also
runs the agent without durability, and the difference is what the library adds.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import time
from typing import TYPE_CHECKING, Any

from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart, UserPromptPart
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel

from benchmarks.drivers.protocol import Driver

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable

__all__ = ["AgentDriver", "TaskDriver", "bench_agent", "look", "prompt_of", "swallow"]

requests: list[float] = []
"""When the model was asked."""


def prompt_of(turns: int, size: int = 0) -> str:
    """What has the model call its tool in so many turns, with so many characters of text before each call."""
    return f"{turns} {size}"


def look(number: int) -> str:
    """Look."""
    return f"seen {number}"


def _answer(messages: list[ModelMessage]) -> tuple[str, int | None]:
    """The text of the next answer, and the number that it has the tool look at."""
    requests.append(time.perf_counter())
    asked = next(part.content for part in messages[0].parts if isinstance(part, UserPromptPart))
    turns, size = map(int, str(asked).split())
    turn = sum(isinstance(one, ModelResponse) for one in messages)
    return ("x" * size or "looking", turn) if turn < turns else ("done", None)


async def _respond(messages: list[ModelMessage], _: AgentInfo) -> ModelResponse:
    text, number = _answer(messages)
    call = [] if number is None else [ToolCallPart("look", {"number": number}, tool_call_id=f"call-{number}")]
    return ModelResponse(parts=[TextPart(text), *call])


async def _stream(messages: list[ModelMessage], _: AgentInfo) -> AsyncIterator[str | dict[int, DeltaToolCall]]:
    text, number = _answer(messages)
    yield text
    if number is not None:
        yield {1: DeltaToolCall(name="look", json_args=f'{{"number": {number}}}', tool_call_id=f"call-{number}")}


async def swallow(_: Any, events: AsyncIterable[Any]) -> None:
    """Take the events of a run."""
    async for _event in events:
        pass


def bench_agent(*capabilities: Any, tool: Callable[..., Any] = look) -> Agent[Any, str]:
    """The agent. Its tool may have to be the library's."""
    model = FunctionModel(_respond, stream_function=_stream)
    return Agent(model, name="bench", tools=[tool], capabilities=list(capabilities))


class AgentDriver(Driver):
    """A library with an adapter for pydantic-ai. A subclass says how a workflow of it runs the agent."""

    package = ""

    def version(self) -> str:
        of = importlib.metadata.version
        return f"{of(self.package)} (pydantic-ai {of('pydantic-ai-slim')})"

    async def durably(self, prompt: str, *, events: bool) -> str:
        """Run the agent in a workflow, and return what it said."""
        raise NotImplementedError

    async def plainly(self, prompt: str, *, events: bool) -> str:
        """Run the agent alone."""
        result = await _plain.run(prompt, event_stream_handler=swallow if events else None)
        return result.output

    async def agent(self, turns: int, *, durable: bool, events: bool = False) -> dict[str, object]:
        """Run the agent once. The seconds are those from its first request to its last, so without start and end."""
        requests.clear()
        run = self.durably if durable else self.plainly
        said = await run(prompt_of(turns), events=events)
        if said != "done" or len(requests) != turns + 1:
            raise RuntimeError(f"the agent said {said!r} after {len(requests)} requests")
        return {"seconds": requests[-1] - requests[0], "calls": 2 * turns}

    def tasks(self) -> dict[str, Callable[..., Awaitable[dict[str, object]]]]:
        return {"agent": self.agent}


_plain = bench_agent()


class TaskDriver(AgentDriver):
    """A library that is a queue of tasks, as Absurd is. A subclass makes `app`, whose worker runs beside the client."""

    app: Any

    def __init__(self, url: str, capability: Any, heard: Any) -> None:
        """`heard` is the capability of the agent with events."""
        super().__init__(url)
        self._agents = {False: bench_agent(capability), True: bench_agent(heard)}
        self._working: asyncio.Task[None] | None = None

    async def run_agent(self, params: Any, _: Any) -> str:
        """The task."""
        return (await self._agents[params["events"]].run(params["prompt"])).output

    async def work(self) -> None:
        """Start the worker."""
        self.app.register_task("run_agent")(self.run_agent)
        self._working = asyncio.create_task(self.app.start_worker())

    async def close(self) -> None:
        self.app.stop_worker()
        if self._working is not None:
            await self._working
