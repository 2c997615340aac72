"""Approvals of tools, as questions of the workflow."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, cast

from pydantic import BaseModel

from romancy.context import current_workflow
from romancy.errors import EventTimeoutError, RefusedError
from romancy.ext._agents.approving import with_arguments

if TYPE_CHECKING:
    from agents import RunResult, RunResultStreaming, RunState, ToolApprovalItem

    from romancy.retry import Duration

__all__ = ["Inbox"]


class Inbox:
    """Asks people about calls of tools with `needs_approval`, by questions of the workflow.

    Each call is a question of its own, answered by yes or no. They are found by `app.questions()`, in the dashboard and
    by `romancy ask`.
    """

    def __init__(
        self,
        *,
        to: str | None = None,
        name: str = "approval",
        timeout: Duration | None = None,
        show_arguments: bool = True,
    ) -> None:
        """`to` says who is asked, and `name` what kind of question it is. Nobody's answer in time is a no.

        `show_arguments=False` names tools alone.
        """
        self._to = to
        self._name = name
        self._timeout = timeout
        self._shows = show_arguments

    async def answered(self, result: RunResult | RunResultStreaming) -> RunState[Any]:
        """Ask about all calls that the run waits for, at once, and return its state with the answers."""
        state = result.to_state()
        told = await asyncio.gather(*(self._refusal(item) for item in result.interruptions))
        for item, refusal in zip(result.interruptions, told, strict=True):
            if refusal is None:
                state.approve(item)
            else:
                state.reject(item, rejection_message=refusal or None)
        return state

    async def _refusal(self, item: ToolApprovalItem) -> str | None:
        """Why the call may not be made. None: it may."""
        called = with_arguments(_arguments(item), shows=self._shows)
        text = f"May {item.qualified_name or 'a tool'} be called{called}?"
        try:
            allowed = await current_workflow().ask(text, name=self._name, to=self._to, timeout=self._timeout)
        except RefusedError as refused:
            return refused.reason or ""
        except EventTimeoutError as late:
            return str(late)
        return None if allowed else ""


def _arguments(item: ToolApprovalItem) -> str:
    """What the tool would be called with: the whole call, where it has no arguments of its own."""
    if item.arguments is not None:
        return item.arguments
    raw: Any = item.raw_item
    if isinstance(raw, BaseModel):
        raw = raw.model_dump(mode="json", exclude_unset=True)
    if isinstance(raw, dict):
        call = cast("dict[str, object]", raw)
        raw = next((call[name] for name in ("action", "operation", "input") if name in call), call)
    return json.dumps(raw, default=str)
