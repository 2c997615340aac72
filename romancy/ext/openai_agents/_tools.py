"""Tools of one run: each call that does something is a step."""

from __future__ import annotations

import copy
import inspect
from functools import update_wrapper
from typing import TYPE_CHECKING, Any, Final, Literal

from agents import ApplyPatchTool, ComputerTool, CustomTool, FunctionTool, LocalShellTool, ShellTool

from romancy.errors import UsageError
from romancy.ext._agents.options import StepOptions, merged
from romancy.ext.openai_agents._values import (
    output_from,
    output_of,
    patched_from,
    patched_of,
    shell_from,
    shell_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from agents import Tool
    from agents.editor import ApplyPatchOperation

    from romancy.ext.openai_agents._run import Running

__all__ = ["body_tool", "durable_tool", "step_tool"]

_MARK: Final = "romancy_runs"


def body_tool(tool: FunctionTool) -> FunctionTool:
    """The tool, called in the body of the workflow: it may wait, ask, start children, and run other agents durably."""
    return _marked(tool, "body")


def step_tool(tool: FunctionTool, options: StepOptions) -> FunctionTool:
    """The tool, called in a step with these options."""
    if not isinstance(options, StepOptions):  # pyright: ignore[reportUnnecessaryIsInstance] - untyped code calls this too
        raise UsageError(f"step_tool takes StepOptions(…), not {options!r}")
    return _marked(tool, options)


def _marked(tool: FunctionTool, how: StepOptions | Literal["body"]) -> FunctionTool:
    if not isinstance(tool, FunctionTool):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise UsageError(f"{how if how == 'body' else 'step'}_tool takes a FunctionTool, not {type(tool).__name__}")
    marked = copy.copy(tool)
    original = marked.on_invoke_tool

    async def invoke(context: Any, arguments: str) -> Any:
        return await original(context, arguments)

    _as_wrapper(invoke, original)
    vars(invoke)[_MARK] = how
    marked.on_invoke_tool = invoke
    return marked


def durable_tool(run: Running, tool: Tool, agent: str, *, runs_are_durable: bool) -> Tool:
    """The tool as a run of this agent calls it. Raises UsageError for one that cannot be durable."""
    match tool:
        case FunctionTool():
            return _function(run, tool, agent, runs_are_durable=runs_are_durable)
        case CustomTool():
            return _custom(run, tool, agent)
        case ShellTool() | LocalShellTool():
            return _shell(run, tool, agent)
        case ApplyPatchTool():
            changed = copy.copy(tool)
            changed.editor = _Editor(run, tool.editor, f"{agent}.{tool.name}")
            return changed
        case ComputerTool():
            raise UsageError(
                f"agent {agent!r} has a ComputerTool, whose driver is no step: its actions would be done again at each "
                "replay; give what it does as function tools, or run this agent in a step of its own"
            )
        case _:
            return tool  # the provider runs it


def _function(run: Running, tool: FunctionTool, agent: str, *, runs_are_durable: bool) -> FunctionTool:
    original = tool.on_invoke_tool
    how: StepOptions | Literal["body"] | None = getattr(original, _MARK, None)
    if how == "body":
        return tool
    if tool._is_agent_tool:  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - nothing else tells
        if not runs_are_durable:
            raise UsageError(
                f"tool {tool.name!r} of agent {agent!r} is an agent, which it runs by Runner.run: call "
                "romancy.ext.openai_agents.install() when the program begins, so that this run is durable too"
            )
        return tool
    options = run.how.tools if how is None else merged(how, run.how.tools)
    name = tool.qualified_name

    async def invoke(context: Any, arguments: str) -> Any:
        async def call() -> Any:
            return output_of(await original(context, arguments))

        about = run.told(agent=agent, tool=name, call=getattr(context, "tool_call_id", None))
        return output_from(await run.step(f"{agent}.tool:{name}", call, options, about))

    _as_wrapper(invoke, original)
    changed = copy.copy(tool)
    changed.on_invoke_tool = invoke
    return changed


def _custom(run: Running, tool: CustomTool, agent: str) -> CustomTool:
    original = tool.on_invoke_tool

    async def invoke(context: Any, given: str) -> Any:
        async def call() -> Any:
            return output_of(await _awaited(original(context, given)))

        about = run.told(agent=agent, tool=tool.name, call=getattr(context, "tool_call_id", None))
        return output_from(await run.step(f"{agent}.custom:{tool.name}", call, run.how.tools, about))

    changed = copy.copy(tool)
    changed.on_invoke_tool = invoke
    return changed


def _shell(run: Running, tool: ShellTool | LocalShellTool, agent: str) -> ShellTool | LocalShellTool:
    executor: Callable[[Any], Any] | None = tool.executor
    if executor is None:
        return tool  # the provider runs it

    async def execute(request: Any) -> Any:
        async def call() -> Any:
            return shell_of(await _awaited(executor(request)))

        about = run.told(agent=agent, tool=tool.name, call=getattr(request.data, "call_id", None))
        return shell_from(await run.step(f"{agent}.{tool.name}", call, run.how.tools, about))

    changed = copy.copy(tool)
    changed.executor = execute
    return changed


class _Editor:
    """An editor of patches whose operations are steps."""

    def __init__(self, run: Running, editor: Any, name: str) -> None:
        self._run = run
        self._editor = editor
        self._name = name

    async def create_file(self, operation: ApplyPatchOperation) -> Any:
        return await self._step("create_file", operation)

    async def update_file(self, operation: ApplyPatchOperation) -> Any:
        return await self._step("update_file", operation)

    async def delete_file(self, operation: ApplyPatchOperation) -> Any:
        return await self._step("delete_file", operation)

    async def _step(self, what: str, operation: ApplyPatchOperation) -> Any:
        async def call() -> Any:
            return patched_of(await _awaited(getattr(self._editor, what)(operation)))

        about = self._run.told(tool=what, path=operation.path)
        return patched_from(await self._run.step(f"{self._name}.{what}", call, self._run.how.tools, about))


async def _awaited(given: Any) -> Any:
    return await given if inspect.isawaitable(given) else given


def _as_wrapper(invoke: Callable[..., Any], original: Any) -> None:
    """Let the SDK see the parameters of the original, by which it chooses the context that it hands over."""
    held = invoke.__dict__
    kept = dict(held)
    update_wrapper(invoke, original, updated=())
    held.update(kept)
    held["__wrapped__"] = original if inspect.isroutine(original) else type(original).__call__
