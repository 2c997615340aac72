"""Sessions with MCP servers: the steps of a worker share them, they outlive bodies, and a dead server is met anew."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fastmcp.client.transports import StdioTransport
from mcp.server import MCPServer
from pydantic_ai import Agent
from pydantic_ai.mcp import MCPToolset
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.toolsets._dynamic import DynamicToolset

from romancy import RetryPolicy, Romancy, WorkflowCancelledError, WorkflowContext, WorkflowFailedError, workflow
from romancy.ext.pydantic_ai import RomancyDurability, StepOptions, _sessions
from romancy.testing import crash_at_every_commit
from romancy_conformance.behaviour.waiting import until
from tests.ext.pydantic_ai import mcp_server

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

pytestmark = pytest.mark.anyio

CALLS = 3


class Counted:
    """How many sessions a server in this process has, and had."""

    def __init__(self, tool: Callable[[int, int], Awaitable[int]] | None = None) -> None:
        self.begun = 0
        self.open = 0
        self.refuses = 0
        self.server = MCPServer("counted", lifespan=self._session)
        self.server.tool(name="add")(tool or self.add)

    async def add(self, a: int, b: int) -> int:
        """Add."""
        return a + b

    @asynccontextmanager
    async def _session(self, _: object) -> AsyncGenerator[None]:
        self.begun += 1
        if self.begun <= self.refuses:
            raise RuntimeError("not yet")
        self.open += 1
        try:
            yield
        finally:
            self.open -= 1


async def adds(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    """Call `add` a few times side by side, and say what came of it."""
    returned = [part for one in messages for part in one.parts if isinstance(part, ToolReturnPart)]
    if not returned:
        return ModelResponse(parts=[ToolCallPart("add", {"a": 1, "b": number}) for number in range(CALLS)])
    return ModelResponse(parts=[TextPart(" ".join(str(part.content) for part in returned))])


SOON = StepOptions(retry=RetryPolicy.fixed(5, 0.01))
ADDED = " ".join(str(1 + number) for number in range(CALLS))
counted = Counted()


def agent_of(toolset: MCPToolset[Any], capability: RomancyDurability[Any], name: str = "adder") -> Agent[Any, str]:
    return Agent(FunctionModel(adds), name=name, capabilities=[capability], toolsets=[toolset])


agents: dict[str, Agent[Any, str]] = {}


@pytest.fixture(autouse=True)
def anew() -> None:
    global counted  # noqa: PLW0603 - each test has a server of its own
    counted = Counted()
    agents["adder"] = agent_of(MCPToolset[Any](counted.server, id="counted"), RomancyDurability(mcp=SOON))


@workflow
async def sessions_add(ctx: WorkflowContext, name: str = "adder") -> str:
    return (await agents[name].run("go")).output


async def test_the_steps_of_all_runs_share_a_session_that_ends_with_the_app() -> None:
    async with Romancy("memory://", workflows=[sessions_add]) as app:
        assert [ADDED] * 5 == await asyncio.gather(*(app.run(sessions_add) for _ in range(5)))
        assert ADDED == await app.run(sessions_add)
        assert (counted.begun, counted.open) == (1, 1)
    assert (counted.begun, counted.open) == (1, 0)


async def test_a_session_that_nobody_uses_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_sessions, "_IDLE", 0.01)
    async with Romancy("memory://", workflows=[sessions_add]) as app:
        for number in range(1, 3):
            assert ADDED == await app.run(sessions_add)
            await until(nothing_is_open)
            assert counted.begun >= number


async def nothing_is_open() -> bool:
    return not counted.open


async def test_a_server_that_refuses_at_first_is_asked_again_by_the_step() -> None:
    counted.refuses = 2
    async with Romancy("memory://", workflows=[sessions_add]) as app:
        assert ADDED == await app.run(sessions_add)
    assert (counted.begun, counted.open) == (3, 0)


async def test_a_run_sees_the_tools_that_there_are_now() -> None:
    async def added(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        return ModelResponse(parts=[TextPart(" ".join(sorted(tool.name for tool in info.function_tools)))])

    toolset = MCPToolset[Any](counted.server, id="counted")
    agents["adder"] = Agent(FunctionModel(added), name="adder", capabilities=[RomancyDurability()], toolsets=[toolset])
    async with Romancy("memory://", workflows=[sessions_add]) as app:
        assert await app.run(sessions_add) == "add"
        counted.server.tool(name="subtract")(counted.add)
        assert await app.run(sessions_add) == "add subtract"
    assert counted.begun == 1


async def test_agents_that_share_a_capability_have_servers_of_their_own() -> None:
    capability, others = RomancyDurability[Any](mcp=SOON), Counted()
    for name, one in (("first", counted), ("second", others)):
        agents[name] = agent_of(MCPToolset[Any](one.server, id="the same"), capability, name)
    async with Romancy("memory://", workflows=[sessions_add]) as app:
        for name in ("first", "second", "first"):
            assert ADDED == await app.run(sessions_add, name)
    assert (counted.begun, others.begun) == (1, 1)


@workflow
async def sessions_made_in_the_body(ctx: WorkflowContext) -> str:
    agent = agent_of(MCPToolset[Any](counted.server, id="counted"), RomancyDurability(mcp=SOON))
    return (await agent.run("go")).output


async def test_toolsets_of_bodies_keep_few_sessions_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_sessions, "_MOST_AT_REST", 2)
    async with Romancy("memory://", workflows=[sessions_made_in_the_body]) as app:
        for _ in range(5):
            assert ADDED == await app.run(sessions_made_in_the_body)
        await until(few_are_open)
        assert counted.begun >= 5
    assert counted.open == 0


async def few_are_open() -> bool:
    return counted.open <= 2


@pytest.mark.parametrize("per_run_step", [True, False])
async def test_a_dynamic_toolset_with_a_server_holds_nothing_open_in_a_body(*, per_run_step: bool) -> None:
    inner = MCPToolset[Any](counted.server, id="inner")
    toolset = DynamicToolset[Any](lambda _: inner, per_run_step=per_run_step, id="dynamic")
    agents["adder"] = Agent(FunctionModel(adds), name="adder", capabilities=[RomancyDurability()], toolsets=[toolset])
    async with Romancy("memory://", workflows=[sessions_add]) as app:
        assert ADDED == await app.run(sessions_add)
        assert counted.open == 0
    assert ADDED == (await agents["adder"].run("go")).output


async def test_a_tool_that_fails_keeps_the_session() -> None:
    async def refuses(a: int, b: int) -> int:
        raise ValueError("no such sum")

    fails = Counted(refuses)
    agents["adder"] = agent_of(MCPToolset[Any](fails.server, id="fails"), RomancyDurability(mcp=SOON))
    async with Romancy("memory://", workflows=[sessions_add]) as app:
        for _ in range(3):
            assert "Error executing tool" in await app.run(sessions_add)
    assert (fails.begun, fails.open) == (1, 0)


async def test_a_run_that_is_cancelled_leaves_the_session_to_others() -> None:
    calls = asyncio.Event()

    async def waits_once(a: int, b: int) -> int:
        if not calls.is_set():
            calls.set()
            await asyncio.Event().wait()
        return a + b

    waits = Counted(waits_once)
    agents["adder"] = agent_of(MCPToolset[Any](waits.server, id="waits"), RomancyDurability(mcp=SOON))
    async with Romancy("memory://", workflows=[sessions_add]) as app:
        stopped = await app.start(sessions_add)
        await calls.wait()
        await stopped.cancel()
        assert ADDED == await app.run(sessions_add)
        with pytest.raises(WorkflowCancelledError):
            await stopped.result(timeout=60)
    assert (waits.begun, waits.open) == (1, 0)


async def test_a_server_that_never_answers_holds_up_neither_the_step_nor_the_app() -> None:
    class Hangs(MCPToolset[Any]):
        entered = 0

        async def __aenter__(self) -> Any:
            Hangs.entered += 1
            await asyncio.Event().wait()

    once = StepOptions(retry=RetryPolicy.fixed(2, 0.01), timeout=0.05)
    agents["adder"] = agent_of(Hangs(counted.server, id="hangs"), RomancyDurability(mcp=once))
    async with Romancy("memory://", workflows=[sessions_add]) as app:
        with pytest.raises(WorkflowFailedError):
            await app.run(sessions_add)
    assert Hangs.entered == 2


async def test_an_agent_with_a_server_survives_a_crash_at_every_commit() -> None:
    places = await crash_at_every_commit(sessions_add)
    assert len(places) >= 5
    assert counted.open == 0


# ── servers that die ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def stdio(tmp_path: Any) -> Any:
    """An agent with a server in a process of its own, which notes each process and each call."""
    ledger = tmp_path / "server"
    transport = StdioTransport(sys.executable, ["-m", mcp_server.__name__, str(ledger)], cwd=str(Path.cwd()))
    agents["adder"] = agent_of(MCPToolset[Any](transport, id="stdio"), RomancyDurability(mcp=SOON))
    return ledger


def pids(ledger: Any) -> list[int]:
    return [int(line.split()[1]) for line in ledger.read_text("utf-8").splitlines() if line.startswith("began")]


@pytest.mark.long
async def test_a_server_that_died_between_two_runs_is_begun_anew(stdio: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_sessions, "_RESTED", 0.0)
    async with Romancy("memory://", workflows=[sessions_add]) as app:
        for count in range(1, 4):
            assert ADDED == await app.run(sessions_add)
            assert len(pids(stdio)) == count
            os.kill(pids(stdio)[-1], signal.SIGKILL)
            await until(lambda: has_ended(pids(stdio)[-1]))


async def has_ended(pid: int) -> bool:
    return is_over(Path(f"/proc/{pid}/stat"))


def is_over(process: Path) -> bool:
    """Whether the kernel says that it has ended, waited for by its parent or not."""
    return not process.exists() or process.read_text("utf-8").rpartition(")")[2].split()[0] == "Z"


@pytest.mark.long
async def test_a_server_that_dies_in_a_call_is_begun_anew_for_the_next(stdio: Any) -> None:
    stdio.with_suffix(".die").write_text("once", encoding="utf-8")
    async with Romancy("memory://", workflows=[sessions_add]) as app:
        first = await app.run(sessions_add)
        assert "closed" in first
        assert ADDED == await app.run(sessions_add)
    assert len(pids(stdio)) == 2
