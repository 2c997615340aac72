"""MCP servers of one run: what they are asked is a step, and their sessions stay the worker's."""

from __future__ import annotations

import copy
from functools import partial
from typing import TYPE_CHECKING, Any

from mcp.types import CallToolResult, GetPromptResult, ListPromptsResult, Tool

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from agents.mcp import MCPServer
    from pydantic import BaseModel

    from romancy.ext.openai_agents._run import Running

__all__ = ["durable_server"]


def durable_server(run: Running, server: MCPServer, agent: str) -> MCPServer:
    """The server as a run of this agent asks it. The program connects it, outside of bodies."""
    name = f"{agent}.mcp:{server.name}"

    async def ask(what: str, call: Callable[[], Coroutine[Any, Any, Any]], **told: Any) -> Any:
        async def request() -> Any:
            answer: BaseModel | list[BaseModel] = await call()
            return [_dumped(one) for one in answer] if isinstance(answer, list) else _dumped(answer)

        return await run.step(f"{name}.{what}", request, run.how.mcp, run.told(agent=agent, **told))

    async def list_tools(run_context: Any = None, agent: Any = None) -> list[Tool]:
        found = await ask("list_tools", partial(server.list_tools, run_context, agent))
        return [Tool.model_validate(one) for one in found]

    async def call_tool(
        tool_name: str, arguments: dict[str, Any] | None, meta: dict[str, Any] | None = None
    ) -> CallToolResult:
        more = {} if meta is None else {"meta": meta}
        call = partial(server.call_tool, tool_name, arguments, **more)
        return CallToolResult.model_validate(await ask(f"call_tool:{tool_name}", call, tool=tool_name))

    async def list_prompts() -> ListPromptsResult:
        return ListPromptsResult.model_validate(await ask("list_prompts", server.list_prompts))

    async def get_prompt(name: str, arguments: dict[str, Any] | None = None) -> GetPromptResult:
        return GetPromptResult.model_validate(await ask("get_prompt", partial(server.get_prompt, name, arguments)))

    async def nothing() -> None: ...

    copied = copy.copy(server)
    vars(copied).update(
        list_tools=list_tools,
        call_tool=call_tool,
        list_prompts=list_prompts,
        get_prompt=get_prompt,
        connect=nothing,
        cleanup=nothing,
    )
    return copied


def _dumped(answer: BaseModel) -> Any:
    return answer.model_dump(mode="json", by_alias=True, exclude_none=True)
