"""A chat on the web with FastAPI: a reload shows the whole conversation, and a crash amid an answer ends nothing.

    THINK=0.2 uvicorn examples.chat:api
    open http://localhost:8000/chats/ann

It needs `pip install 'romancy[http]' fastapi uvicorn`. Kill the server while it answers, and start it again: the page
connects by itself, takes back what the lost attempt has said, and shows the answer of the next one. A message that the
page sends twice is in the conversation once. The model is a stand-in that repeats what it is told, a word each THINK
seconds.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, FastAPI
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, Field

from romancy import EventType, RetryPolicy, Romancy, Stream, WorkflowContext, activity, activity_context, workflow
from romancy.ext.starlette import lifespan, opened_app
from romancy.http import asgi

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

asked = EventType("asked", str)
said = Stream("said", str)
TURNS = 100
"""After so many, the conversation goes on in a new run, so that its log stays short."""
PATIENT = RetryPolicy.exponential(10, 0.1, 30)


async def words_of_the_model(question: str) -> AsyncGenerator[str]:
    """What a model answers, as it comes."""
    for word in f"You said: {question} — tell me more.".split():
        await asyncio.sleep(float(os.environ.get("THINK", "0.2")))
        yield f"{word} "


@activity(retry=PATIENT, heartbeat_timeout=60)
async def answer(question: str) -> str:
    print(f"the model is asked: {question}", flush=True)
    stream = activity_context().stream(said)
    told: list[str] = []
    async with aclosing(words_of_the_model(question)) as words:
        async for word in words:
            stream.write(word)
            told.append(word)
    return "".join(told)


@workflow
async def chat(ctx: WorkflowContext) -> None:
    for _ in range(TURNS):
        question = (await ctx.wait_event(asked)).data
        await ctx.stream(said).write(f"> {question}\n")
        await answer(question)
    chat.recur()


class Message(BaseModel):
    id: str = Field(min_length=1, max_length=64)
    """Chosen by the page: a message that is sent again, as after a lost answer, counts once."""
    text: str = Field(min_length=1, max_length=4000)


romancy = Romancy(os.environ.get("ROMANCY_URL", "sqlite:///chat.db"), workflows=[chat])
App = Annotated[Romancy, Depends(opened_app)]
Name = Annotated[str, Field(pattern="^[a-z0-9-]{1,40}$")]
api = FastAPI(lifespan=lifespan(romancy))
# Whoever reaches it reads each conversation. Give `auth=` a function that knows your visitors.
api.mount("/romancy", asgi(romancy, auth="local"))


@api.post("/chats/{name}", status_code=202)
async def say(name: Name, message: Message, app: App) -> None:
    await app.signal_with_start(chat.options(instance_id=f"chat-{name}").bind(), asked, message.text, id=message.id)


@api.get("/chats/{name}")
async def page(name: Name) -> HTMLResponse:
    return HTMLResponse(Path(__file__).with_suffix(".html").read_text("utf-8").replace("{name}", name))
