"""A pydantic-ai agent that books a trip: a person approves the flight, and a failure takes back what was booked.

    THINK=10 python -m examples.travel_agent [database] [--full]

The model is a stand-in that answers after THINK seconds: kill the program meanwhile, and start it again. With --full
no hotel has a room, so the run fails and the flight is cancelled. The manager is a task of this program. In yours
people answer in the dashboard, or by `romancy ask`.
"""

from __future__ import annotations

import argparse
import asyncio
import os

from pydantic_ai import Agent, Tool
from pydantic_ai.capabilities import RequestInput
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from romancy import Romancy, TerminalError, WorkflowContext, WorkflowFailedError, activity, workflow
from romancy.ext.pydantic_ai import Inbox, RomancyDurability


class NoRoomError(TerminalError):
    """No hotel has a room."""


@activity
async def book_flight(city: str) -> str:
    """Book a flight to a city."""
    print(f"booked: a flight to {city}", flush=True)
    return f"a flight to {city}"


@book_flight.compensation
async def cancel_flight(city: str) -> None:
    print(f"cancelled: the flight to {city}", flush=True)


@activity
async def book_hotel(city: str, full: bool) -> str:  # noqa: FBT001 - arguments of a tool have names
    """Book a hotel in a city."""
    if full:
        raise NoRoomError(f"no room in {city}")
    print(f"booked: a hotel in {city}", flush=True)
    return f"a hotel in {city}"


async def model(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    """Answer as a model would: a flight, then a hotel, then a summary."""
    turn = sum(isinstance(one, ModelResponse) for one in messages)
    print(f"the model is asked: turn {turn}", flush=True)
    await asyncio.sleep(float(os.environ.get("THINK", "0")))
    if turn == 0:
        return ModelResponse(parts=[ToolCallPart("book_flight", {"city": "Rome"})])
    if turn == 1:
        full = "full" in str(getattr(messages[0].parts[0], "content", ""))
        return ModelResponse(parts=[ToolCallPart("book_hotel", {"city": "Rome", "full": full})])
    return ModelResponse(parts=[TextPart("Your trip to Rome is booked.")])


agent = Agent(
    FunctionModel(model),
    name="travel",
    capabilities=[RomancyDurability(), RequestInput(ask=Inbox(to="manager"))],
    tools=[Tool(book_flight, requires_approval=True), book_hotel],
)


@workflow
async def travel(ctx: WorkflowContext, wish: str) -> str:
    return (await agent.run(wish, timeout=7 * 86_400)).output


async def approves(app: Romancy) -> None:
    """Approve what is asked, as a manager would."""
    while not (page := await app.questions(to="manager")).questions:  # noqa: ASYNC110 - it asks the database
        await asyncio.sleep(0.05)
    print(f"asked: {page.questions[0].question}", flush=True)
    await app.answer(page.questions[0].token, data=True, by="the manager")


async def main(url: str, wish: str = "a weekend in Rome") -> str:
    async with Romancy(url, workflows=[travel]) as app:
        handle = await app.start(travel.options(instance_id="trip-1"), wish)
        manager = asyncio.create_task(approves(app))
        try:
            return await handle.result()
        except WorkflowFailedError as failed:
            return f"failed: {failed}"
        finally:
            manager.cancel()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("database", nargs="?", default="sqlite:///trip.db")
    parser.add_argument("--full", action="store_true", help="no hotel has a room")
    given = parser.parse_args()
    print(asyncio.run(main(given.database, "a weekend in a full Rome" if given.full else "a weekend in Rome")))
