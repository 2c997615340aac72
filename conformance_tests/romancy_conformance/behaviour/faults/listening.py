"""A worker process whose workflow answers requests, run after run; and a process that sends them.

    python -m romancy_conformance.behaviour.faults.listening URL --ledger FILE
    python -m romancy_conformance.behaviour.faults.listening URL --ask

The worker prints `ready` and works until it is told to stop. Who asks reads numbers, a line of them at a time, and
prints for each the answer as JSON. It asks some twice under one id.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from romancy import (
    RequestFailedError,
    RequestRefusedError,
    RequestType,
    RetryPolicy,
    Romancy,
    WorkflowContext,
    activity,
    activity_context,
    workflow,
)
from romancy.errors import StorageUnavailableError
from romancy_conformance.behaviour.crashes.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["LISTENER", "RUN", "Add", "Answer", "Book", "Told", "fails", "is_refused", "listening"]

LISTENER: Final = "listener"
RUN: Final = 7
"""After so many answers, the body goes on with a new run."""
_LEDGER: Final = "ROMANCY_LISTENING_LEDGER"


class Book(Struct):
    """What a run hands to the next one."""

    wanted: int
    """So many answers end the instance; a failure is one, a refusal is none."""
    answered: int = 0
    total: int = 0


class Answer(Struct, frozen=True):
    """How many had been answered with this one, and the sum of their numbers."""

    place: int
    total: int


class Told(Struct, frozen=True):
    """What was heard of one request, each time that it was asked."""

    number: int
    answers: list[Answer | str]


def is_refused(number: int) -> bool:
    """Whether the validator refuses the number."""
    return number % 12 == 7


def fails(number: int) -> bool:
    """Whether the handler raises an error for the number."""
    return number % 12 == 5


Add = RequestType("add", int, Answer)


@activity(retry=RetryPolicy.fixed(5, 0.1))
async def listening_write(number: int) -> int:
    """Insert one row, in the commit that ends the activity."""
    ledger = Ledger(Path(os.environ[_LEDGER]))
    ledger.note("begin")
    await asyncio.sleep(0.05)
    session = await activity_context().session()
    await session.execute(f"insert into effects values ('{LISTENER}', '{number}')")  # noqa: S608 - our own words
    ledger.note("end")
    return number


@workflow
async def listening(ctx: WorkflowContext, book: Book) -> Book:
    lock, begun = asyncio.Lock(), book.answered

    async def add(number: int) -> Answer:
        async with lock:
            if not fails(number):
                book.total += await listening_write(number)
            book.answered += 1
            if fails(number):
                raise ValueError(f"{number} was number {book.answered}")
            return Answer(book.answered, book.total)

    def refuse(number: int) -> None:
        if is_refused(number):
            raise ValueError(f"{number} is refused")

    async with ctx.handling(Add.by(add, validate=refuse)):
        await ctx.until(lambda: book.answered >= min(begun + RUN, book.wanted))
        await ctx.all_handled()
        if book.answered < book.wanted:
            listening.recur(book)
    return book


async def ask(url: str) -> None:
    """Ask for each number that is read, all at once."""
    async with Romancy(url, worker=False, workflows=[listening]) as app, asyncio.TaskGroup() as group:
        print("ready", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            for number in map(int, line.split()):
                group.create_task(_tell(app, number))


async def _tell(app: Romancy, number: int) -> None:
    times = 2 if number % 4 == 1 else 1
    answers = await asyncio.gather(*(_answer(app, number) for _ in range(times)))
    print(msgspec.json.encode(Told(number, answers)).decode(), flush=True)


async def _answer(app: Romancy, number: int) -> Answer | str:
    while True:
        try:
            return await app.request(LISTENER, Add, number, id=f"r{number}", timeout=300)
        except (RequestRefusedError, RequestFailedError) as error:
            return f"{type(error).__name__}: {error.__cause__}"
        except StorageUnavailableError:  # the same id asks for the same
            await asyncio.sleep(0.05)


async def work(url: str, ledger: str) -> None:
    os.environ[_LEDGER] = ledger
    async with Romancy(url, workflows=[listening], drain_timeout=0.2) as app:
        print("ready", flush=True)
        await app.serve()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--ledger", default="")
    parser.add_argument("--ask", action="store_true")
    options = parser.parse_args(arguments)
    asyncio.run(ask(options.url) if options.ask else work(options.url, options.ledger))


if __name__ == "__main__":
    main()
