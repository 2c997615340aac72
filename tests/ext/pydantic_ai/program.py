"""An agent of a program that is killed, and the provider that counts its requests."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from romancy import Romancy, WorkflowContext, activity, activity_context, workflow
from romancy.ext.pydantic_ai import RomancyDurability

LEDGER = "ROMANCY_TEST_REQUESTS"
"""The file in which the provider notes each request, in the environment of the processes."""


KILLED_AT = "ROMANCY_TEST_KILLED_AT"
"""The line after which the process kills itself."""


def note(line: str) -> None:
    """Write a line that stays when the process is killed."""
    with Path(os.environ[LEDGER]).open("a", encoding="utf-8") as ledger:
        ledger.write(f"{line}\n")
    if line.startswith(os.environ.get(KILLED_AT, "never")):
        os.kill(os.getpid(), signal.SIGKILL)


@activity
async def pay(cents: int) -> int:
    """Pay."""
    note(f"paid {activity_context().idempotency_key}")
    return cents


async def ask(question: str) -> str:
    """Ask."""
    note(f"asked {question}")
    return question.upper()


async def provider(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    turn = sum(isinstance(one, ModelResponse) for one in messages)
    note(f"request {turn}")
    if turn == 0:
        return ModelResponse(parts=[ToolCallPart("pay", {"cents": 5}), ToolCallPart("ask", {"question": "why"})])
    return ModelResponse(parts=[ToolCallPart("ask", {"question": "how"}) if turn == 1 else TextPart("done")])


agent = Agent(FunctionModel(provider), name="killed", capabilities=[RomancyDurability()], tools=[pay, ask])


@workflow
async def pays(ctx: WorkflowContext) -> str:
    return (await agent.run("go")).output


async def main(url: str) -> None:
    async with Romancy(url, workflows=[pays]) as app:
        await app.start(pays.options(instance_id="killed"))
        await app.handle("killed", pays).result()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
