"""An agent of a program that is killed, and the provider that counts its requests."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

from agents import Agent, Model, ModelResponse, Usage, function_tool
from agents.testing import assistant_message, function_call

from romancy import Romancy, WorkflowContext, activity, activity_context, workflow
from romancy.ext.openai_agents import RomancyRunner, activity_tool

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


@function_tool
async def ask(question: str) -> str:
    """Ask."""
    note(f"asked {question}")
    return question.upper()


class Provider(Model):
    """Notes each request."""

    async def get_response(self, system_instructions: Any, input: Any, *args: Any, **kwargs: Any) -> ModelResponse:
        items = [] if isinstance(input, str) else list(input)
        outputs = sum(one.get("type") == "function_call_output" for one in items)
        turn = {0: 0, 2: 1, 3: 2}[outputs]
        note(f"request {turn}")
        if turn == 0:
            said = [
                function_call("pay", {"cents": 5}, call_id="c1"),
                function_call("ask", {"question": "why"}, call_id="c2"),
            ]
        elif turn == 1:
            said = [function_call("ask", {"question": "how"}, call_id="c3")]
        else:
            said = [assistant_message("done")]
        return ModelResponse(output=said, usage=Usage(requests=1), response_id=None)

    def stream_response(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError


agent = Agent(name="killed", model=Provider(), tools=[activity_tool(pay), ask])


@workflow
async def oa_pays(ctx: WorkflowContext) -> str:
    return str((await RomancyRunner.run(agent, "go")).final_output)


async def main(url: str) -> None:
    async with Romancy(url, workflows=[oa_pays]) as app:
        await app.start(oa_pays.options(instance_id="killed"))
        await app.handle("killed", oa_pays).result()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
