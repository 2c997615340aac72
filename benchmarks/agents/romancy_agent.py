"""Romancy's adapter for pydantic-ai. With events, they go to a stream in the database."""

from __future__ import annotations

from benchmarks.agents.agent import AgentDriver, bench_agent
from benchmarks.drivers.protocol import serve
from romancy import Romancy, WorkflowContext, workflow
from romancy.ext.pydantic_ai import AGENT_EVENTS, RomancyDurability

AGENTS = {
    False: bench_agent(RomancyDurability()),
    True: bench_agent(RomancyDurability(stream=AGENT_EVENTS)),
}


@workflow
async def runs_agent(ctx: WorkflowContext, prompt: str, *, events: bool) -> str:
    return (await AGENTS[events].run(prompt)).output


class RomancyAgent(AgentDriver):
    name = "romancy"
    package = "romancy"

    async def open(self) -> None:
        self._app = await Romancy(self.url, workflows=[runs_agent]).__aenter__()

    async def close(self) -> None:
        await self._app.__aexit__(None, None, None)

    async def durably(self, prompt: str, *, events: bool) -> str:
        return await self._app.run(runs_agent, prompt, events=events)


if __name__ == "__main__":
    serve(RomancyAgent)
