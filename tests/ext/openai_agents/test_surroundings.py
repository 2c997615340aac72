"""What stands around a run: MCP servers, codecs, cancellation, each database, and a quiet stderr."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from agents import Agent, ComputerTool
from agents.mcp import MCPServer
from agents.testing import assistant_message
from mcp.types import CallToolResult, Tool

from romancy import Romancy, WorkflowCancelledError, WorkflowContext, WorkflowFailedError, activity, workflow
from romancy.core import ActivityScheduled
from romancy.ext.openai_agents import RomancyRunner, activity_tool
from romancy.testing import TestApp, crash_at_every_commit
from romancy_conformance.behaviour.coded import Masking
from tests.ext.openai_agents.scripted import Scripted, call

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio

told: list[str] = []


class Calculator(MCPServer):
    """A server that adds."""

    @property
    def name(self) -> str:
        return "calculator"

    async def connect(self) -> None: ...
    async def cleanup(self) -> None: ...

    async def list_tools(self, run_context: Any = None, agent: Any = None) -> list[Tool]:
        told.append("list")
        schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
        return [Tool.model_validate({"name": "add", "description": "Add.", "inputSchema": schema})]

    async def call_tool(self, tool_name: str, arguments: Any, meta: Any = None) -> CallToolResult:
        told.append(f"{tool_name} {arguments['a']}")
        return CallToolResult.model_validate({"content": [{"type": "text", "text": str(arguments["a"] + 1)}]})

    async def list_prompts(self) -> Any:
        raise NotImplementedError

    async def get_prompt(self, name: str, arguments: Any = None) -> Any:
        raise NotImplementedError


def adds(turn: int, outputs: list[Any]) -> list[Any]:
    if outputs:
        texts = [one["output"] if isinstance(one["output"], str) else one["output"][0]["text"] for one in outputs]
        return [assistant_message(" ".join(texts))]
    return [call("add", f"c{number}", a=number) for number in range(3)]


adder = Agent(name="adder", model=Scripted(adds), mcp_servers=[Calculator()])


@workflow
async def oas_adds(ctx: WorkflowContext) -> str:
    return str((await RomancyRunner.run(adder, "go")).final_output)


async def test_what_an_mcp_server_is_asked_is_a_step() -> None:
    told.clear()
    async with TestApp([oas_adds], sticky=0) as app:
        handle = await app.start(oas_adds)
        result = await handle.result()
        names = Counter(one.name for one in await handle.history() if isinstance(one, ActivityScheduled))
    assert "1" in result
    assert names["adder.mcp:calculator.call_tool:add"] == 3
    assert names["adder.mcp:calculator.list_tools"] == told.count("list")
    assert sorted(one for one in told if one != "list") == ["add 0", "add 1", "add 2"]


@workflow
async def oas_computes(ctx: WorkflowContext) -> str:
    computer: Any = object()
    agent = Agent(name="computes", model=Scripted(adds), tools=[ComputerTool(computer=computer)])
    return str((await RomancyRunner.run(agent, "go")).final_output)


async def test_a_computer_is_refused_by_name() -> None:
    async with TestApp([oas_computes]) as app:
        with pytest.raises(WorkflowFailedError, match="agent 'computes' has a ComputerTool"):
            await app.run(oas_computes)


held: Counter[str] = Counter()
thinks = asyncio.Event()


@activity
async def hold(seat: str) -> str:
    """Hold a seat."""
    held[seat] += 1
    return f"held {seat}"


@hold.compensation
async def free(seat: str) -> None:
    held[seat] -= 1


class Thinking(Scripted):
    """Holds two seats, then thinks for ever."""

    async def get_response(self, system_instructions: Any, input: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(input, str) and len(input) > 1:
            thinks.set()
            await asyncio.sleep(600)
        return await super().get_response(system_instructions, input)


holder = Agent(
    name="holder",
    model=Thinking(lambda turn, outputs: [call("hold", seat, seat=seat) for seat in ("1a", "1b")]),
    tools=[activity_tool(hold)],
)


@workflow
async def oas_holds(ctx: WorkflowContext) -> str:
    return str((await RomancyRunner.run(holder, "two seats")).final_output)


async def test_what_a_run_has_booked_is_undone_when_it_is_cancelled() -> None:
    thinks.clear()
    async with Romancy("memory://", workflows=[oas_holds]) as app:
        handle = await app.start(oas_holds)
        await asyncio.wait_for(thinks.wait(), 30)
        assert {"1a": 1, "1b": 1} == dict(held)
        await handle.cancel()
        with pytest.raises(WorkflowCancelledError):
            await handle.result(timeout=30)
    assert {"1a": 0, "1b": 0} == dict(held)


@workflow
async def oas_seals(ctx: WorkflowContext) -> str:
    agent = Agent(name="sealed", model=Scripted(lambda turn, outputs: [assistant_message("the answer")]))
    return str((await RomancyRunner.run(agent, "a secret")).final_output)


def all_of(folder: Path) -> bytes:
    return b"".join(one.read_bytes() for one in folder.iterdir())


async def test_codecs_seal_what_a_run_leaves(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'sealed.db'}"
    async with Romancy(url, workflows=[oas_seals], codecs=[Masking()], sticky=0) as app:
        assert "the answer" == await app.run(oas_seals)
        written = all_of(tmp_path)
    assert b"oas_seals" in written
    assert not [text for text in (b"the answer", b"a secret", b"sealed.model") if text in written]


async def test_a_crash_at_every_commit_says_nothing_on_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    await crash_at_every_commit(oas_seals)
    said = capfd.readouterr()
    assert "ignored" not in said.err + said.out
    assert "never retrieved" not in said.err + said.out


def test_a_process_that_ends_while_a_run_waits_says_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'waits.db'}"
    script = (
        "import asyncio, sys\n"
        "from romancy import Romancy\n"
        "from tests.ext.openai_agents.test_surroundings import oas_holds, thinks\n"
        "async def main():\n"
        "    async with Romancy(sys.argv[1], workflows=[oas_holds], drain_timeout=0.1) as app:\n"
        "        await app.start(oas_holds)\n"
        "        await thinks.wait()\n"
        "asyncio.run(main())\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script, url], capture_output=True, text=True, check=True, timeout=250, env={**os.environ}
    )
    assert "ignored" not in ended.stderr
    assert "never" not in ended.stderr
