"""Waits of a run for people, as questions of the workflow."""

from __future__ import annotations

import asyncio
from functools import partial
from inspect import getclosurevars, isfunction, ismethod
from typing import TYPE_CHECKING, Any, Final

from pydantic_ai.capabilities.request_input import RequestInput
from pydantic_ai.external_events import ExternalEventError, ExternalEventWaiter
from pydantic_ai.tools import DeferredToolRequests, DeferredToolResults, RunContext, ToolDenied

from romancy.context import current_workflow, in_workflow
from romancy.core import current_commands
from romancy.errors import EventTimeoutError, RefusedError, UsageError
from romancy.ext._agents.approving import with_arguments
from romancy.question import asked

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import timedelta

    from pydantic import JsonValue
    from pydantic_ai.messages import ToolCallPart

__all__ = ["Inbox", "Questions", "inbox"]


class Inbox:
    """Asks people about calls of tools, by questions of the workflow: `RequestInput(ask=inbox)`.

    Each call that needs an approval is a question of its own, answered by yes or no, and each external call is one
    whose answer is the result of the tool. They are found by `app.questions()`, in the dashboard and by `romancy ask`.
    """

    def __init__(self, *, to: str | None = None, name: str = "approval", show_arguments: bool = True) -> None:
        """`to` says who is asked, and `name` what kind of question it is. `show_arguments=False` names tools alone."""
        self._to = to
        self._name = name
        self._shows = show_arguments

    async def __call__(
        self, _ctx: RunContext[Any], requests: DeferredToolRequests, _token: str, /
    ) -> DeferredToolResults:
        """Ask about all calls at once, and wait for the answers."""
        if not in_workflow():
            raise UsageError("an inbox asks by the workflow that runs the agent, and this agent runs outside of one")
        approvals = await asyncio.gather(*(self._approval(call) for call in requests.approvals))
        results = await asyncio.gather(*(self._result(call) for call in requests.calls))
        return DeferredToolResults(
            approvals={call.tool_call_id: told for call, told in zip(requests.approvals, approvals, strict=True)},
            calls={call.tool_call_id: told for call, told in zip(requests.calls, results, strict=True)},
        )

    async def _approval(self, call: ToolCallPart) -> bool | ToolDenied:
        text = f"May {call.tool_name} be called{self._with(call)}?"
        try:
            return await current_workflow().ask(text, name=self._name, to=self._to)
        except RefusedError as refused:
            return ToolDenied(refused.reason) if refused.reason else False

    async def _result(self, call: ToolCallPart) -> Any:
        text = f"What is the result of {call.tool_name}{self._with(call)}?"
        try:
            return await current_workflow().ask(text, model=Any, name=self._name, to=self._to)
        except RefusedError as refused:
            raise ExternalEventError(str(refused)) from refused

    def _with(self, call: ToolCallPart) -> str:
        return with_arguments(call.args_as_json_str(), shows=self._shows)


inbox: Final = Inbox()
"""Asks nobody in particular."""


class Questions(ExternalEventWaiter):
    """Lets a durable run wait for people."""

    def __init__(self, agent: str) -> None:
        self._agent = agent

    async def wait(
        self, name: str, *, ask: Callable[[str], Awaitable[JsonValue]], timeout: timedelta | None
    ) -> JsonValue:
        """The answer of an inbox, or of a question of the workflow whose token `ask` hands to somebody."""
        limit = None if timeout is None else timeout.total_seconds()
        try:
            if not _is_inbox(ask):
                return await self._handed_over(name, ask, limit)
            async with asyncio.timeout(limit):
                return await ask("")
        except (TimeoutError, EventTimeoutError) as late:
            raise ExternalEventError(f"nobody answered within {timeout}") from late
        except RefusedError as refused:
            raise ExternalEventError(str(refused)) from refused

    async def _handed_over(
        self, name: str, ask: Callable[[str], Awaitable[JsonValue]], limit: float | None
    ) -> JsonValue:
        async def hand_over(token: str) -> object:
            step = f"{self._agent}__external_event.{name}.ask"
            return await current_workflow().step(step, partial(ask, token), model=Any)

        commands = current_commands()
        if commands is None:
            raise UsageError(f"{name}: a run waits for people in the body of its workflow, and this is elsewhere")
        question = f"{self._agent} waits for {name}"
        answer: JsonValue = await asked(commands, question, Any, name, None, limit, hand_over=hand_over)
        return answer


def _is_inbox(ask: object) -> bool:
    """Whether an inbox answers, which asks in the body."""
    if not isfunction(ask):
        return False
    within: object = getclosurevars(ask).nonlocals.get("ask")  # what pydantic-ai wraps, to mark it as a unit
    owner: Any = within.func.__self__ if isinstance(within, partial) and ismethod(within.func) else None
    return isinstance(owner, RequestInput) and isinstance(vars(owner).get("ask"), Inbox)
