"""DBOS Transact's adapter for pydantic-ai, which leaves functions to the user: the tool is declared as a step."""

# The library is installed in the environment of this driver alone, so no checker can see its types.
# mypy: disable-error-code="import-not-found, untyped-decorator, misc"
# pyright: basic, reportMissingImports=false

from __future__ import annotations

import logging

from dbos import DBOS, DBOSConfig
from pydantic_ai.durable_exec.dbos import DBOSDurability

from benchmarks.agents import agent
from benchmarks.agents.agent import AgentDriver, bench_agent, swallow
from benchmarks.drivers.protocol import serve


@DBOS.step()
async def look(number: int) -> str:
    """Look."""
    return agent.look(number)


class DbosAgent(AgentDriver):
    name = "dbos"
    package = "dbos"

    async def open(self) -> None:
        DBOS(config=DBOSConfig(name="romancy-bench", system_database_url=self.url))
        logging.getLogger("dbos").setLevel(logging.WARNING)
        agents = {
            False: bench_agent(DBOSDurability(name="quiet"), tool=look),
            True: bench_agent(DBOSDurability(name="heard", event_stream_handler=swallow), tool=look),
        }

        @DBOS.workflow(name="runs_agent")
        async def runs_agent(prompt: str, events: bool) -> str:  # noqa: FBT001 - an argument of a workflow
            return (await agents[events].run(prompt)).output

        self._runs_agent = runs_agent
        DBOS.launch()

    async def close(self) -> None:
        DBOS.destroy()

    async def durably(self, prompt: str, *, events: bool) -> str:
        return str(await self._runs_agent(prompt, events))


if __name__ == "__main__":
    serve(DbosAgent)
