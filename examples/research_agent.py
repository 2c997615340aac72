"""An AI agent in three steps, each of which takes minutes. A crash in the second step does not repeat the first.

    THINK=10 python -m examples.research_agent [database]

The model is a stand-in behind `Depends`, so that a test or a real model replaces it in one place. It answers with the
prompt after THINK seconds: kill the program meanwhile, and start it again.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from dataclasses import dataclass
from typing import Protocol

from romancy import Depends, RetryPolicy, Romancy, WorkflowContext, activity, workflow


class Model(Protocol):
    """Anything that answers a prompt."""

    async def generate(self, prompt: str) -> str: ...


class Echo:
    """Answers with the prompt."""

    def __init__(self, think: float = 0) -> None:
        self.think = think

    async def generate(self, prompt: str) -> str:
        print(f"the model is asked: {prompt}", flush=True)
        await asyncio.sleep(self.think)
        return f"[{prompt}]"


def model() -> Model:
    return Echo(float(os.environ.get("THINK", "0")))


@dataclass
class Report:
    topic: str
    text: str


PATIENT = RetryPolicy.exponential(10, 0.1, 30)


@activity(retry=PATIENT, timeout=600)
async def research_topic(topic: str, *, llm: Model = Depends(model)) -> str:
    return await llm.generate(f"Research: {topic}")


@activity(retry=PATIENT, timeout=600)
async def analyze_research(research: str, *, llm: Model = Depends(model)) -> str:
    return await llm.generate(f"Analyze: {research}")


@activity(retry=PATIENT, timeout=600)
async def synthesize_report(analysis: str, *, llm: Model = Depends(model)) -> str:
    return await llm.generate(f"Synthesize: {analysis}")


@workflow
async def ai_research(ctx: WorkflowContext, topic: str) -> Report:
    research = await research_topic(topic)
    analysis = await analyze_research(research)
    return Report(topic, await synthesize_report(analysis))


async def main(url: str) -> Report:
    async with Romancy(url, workflows=[ai_research]) as app:
        handle = await app.start(ai_research.options(instance_id="research-1"), "durable execution")
        return await handle.result()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("database", nargs="?", default="sqlite:///research.db")
    print(asyncio.run(main(parser.parse_args().database)))
