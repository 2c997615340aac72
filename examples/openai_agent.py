"""An agent of the OpenAI Agents SDK that books a trip. A crash repeats no request that was answered, and no booking.

    THINK=5 python -m examples.openai_agent [database]

The model is a script, so that the example needs no key. Leave `model=` out for the real one.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from typing import Any

from agents import Agent, Model, ModelResponse, Usage, function_tool
from agents.testing import assistant_message, function_call

from romancy import Romancy, WorkflowContext, activity, workflow
from romancy.ext.openai_agents import RomancyRunner, activity_tool


class Script(Model):
    """Looks at the weather, books, and tells. It thinks for THINK seconds at each request."""

    async def get_response(self, system_instructions: Any, input: Any, *_args: Any, **_more: Any) -> ModelResponse:  # noqa: ARG002 - the base names it
        outputs = [] if isinstance(input, str) else [one for one in input if one.get("type") == "function_call_output"]
        print(f"the model is asked, with {len(outputs)} results", flush=True)
        await asyncio.sleep(float(os.environ.get("THINK", "0")))
        match outputs:
            case []:
                said = function_call("weather", {"city": "Rome"}, call_id="weather-1")
            case [_]:
                said = function_call("book", {"city": "Rome"}, call_id="book-1")
            case _:
                said = assistant_message(", ".join(str(one["output"]) for one in outputs))
        return ModelResponse(output=[said], usage=Usage(requests=1), response_id=None)

    def stream_response(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError("this script does not stream")


@function_tool
async def weather(city: str) -> str:
    """Tell the weather in a city."""
    print(f"look at the weather in {city}", flush=True)
    return f"sun in {city}"


@activity
async def book(city: str) -> str:
    """Book a flight to a city."""
    print(f"book a flight to {city}", flush=True)
    return f"a flight to {city}"


@book.compensation
async def cancel(city: str) -> None:
    print(f"cancel the flight to {city}", flush=True)


agent = Agent(name="travel", model=Script(), tools=[weather, activity_tool(book)])


@workflow
async def trip(ctx: WorkflowContext, wish: str) -> str:
    result = await RomancyRunner.run(agent, wish)
    return str(result.final_output)


async def main(url: str) -> str:
    async with Romancy(url, workflows=[trip]) as app:
        handle = await app.start(trip.options(instance_id="trip-1"), "a weekend in the sun")
        return await handle.result()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("database", nargs="?", default="sqlite:///trip.db")
    print(asyncio.run(main(parser.parse_args().database)))
