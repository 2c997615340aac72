"""An AI agent in three steps of minutes each. A crash in the second does not pay for the first again.

    python -m examples.research_agent [database]

The model is a stand-in, provided by `Depends`, so that a test or another model replaces it in one place.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from typing import Protocol

from romancy import Depends, RetryPolicy, Romancy, WorkflowContext, activity, workflow


class Model(Protocol):
    """Anything that answers a prompt."""

    async def generate(self, prompt: str) -> str: ...


class Echo:
    """Answers with the prompt."""

    async def generate(self, prompt: str) -> str:
        return f"[{prompt}]"


def model() -> Model:
    return Echo()


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
        return await app.run(ai_research, "durable execution")


if __name__ == "__main__":
    print(asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "sqlite:///research.db")))
