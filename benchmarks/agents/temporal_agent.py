"""Temporal's adapter for pydantic-ai, against a development server that this driver starts."""

# The library is installed in the environment of this driver alone, so no checker can see its types.
# mypy: disable-error-code="import-not-found, untyped-decorator, misc"
# pyright: basic, reportMissingImports=false

from __future__ import annotations

import uuid

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from pydantic_ai.durable_exec.temporal import PydanticAIPlugin, PydanticAIWorkflow, TemporalDurability

    from benchmarks.agents.agent import AgentDriver, bench_agent, swallow
    from benchmarks.drivers.protocol import serve
    from benchmarks.drivers.temporal_server_process import Served

QUEUE = "bench"
QUIET = bench_agent(TemporalDurability(name="quiet"))
HEARD = bench_agent(TemporalDurability(name="heard", event_stream_handler=swallow))


@workflow.defn
class RunsAgent(PydanticAIWorkflow):
    __pydantic_ai_agents__ = (QUIET, HEARD)

    @workflow.run
    async def run(self, prompt: str, events: bool) -> str:  # noqa: FBT001 - an argument of a workflow
        return (await (HEARD if events else QUIET).run(prompt)).output


class TemporalAgent(AgentDriver):
    name = "temporal"
    package = "temporalio"

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._served = Served()

    async def open(self) -> None:
        await self._served.serve(self.url, plugins=[PydanticAIPlugin()], task_queue=QUEUE, workflows=[RunsAgent])

    async def close(self) -> None:
        await self._served.end()

    async def durably(self, prompt: str, *, events: bool) -> str:
        said = await self._served.client.execute_workflow(
            RunsAgent.run, args=[prompt, events], id=str(uuid.uuid4()), task_queue=QUEUE
        )
        return str(said)


if __name__ == "__main__":
    serve(TemporalAgent)
