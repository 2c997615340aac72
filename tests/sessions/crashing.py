"""Starts, signals and publishes in the transaction of each library, and is killed: before its commit, or right after.

`python -m tests.sessions.crashing URL` makes one process for each cell, from one that has imported everything.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import TYPE_CHECKING, Final, NoReturn

from romancy import Romancy
from tests.sessions.libraries import LIBRARIES, ONLY, kind_of, opened
from tests.sessions.workflows import PAID, greet, wait_for_payment

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["TIMES", "cells"]

TIMES: Final = ("before", "after")
"""When the process is killed: before the commit, or after it and before anybody was woken."""


def cells(url: str, when: str) -> Iterator[str]:
    """The names of the cells of this database."""
    for library in LIBRARIES:
        if ONLY.get(library, kind_of(url)) == kind_of(url):
            yield f"{library}, {when}"


async def _cell(url: str, cell: str) -> NoReturn:
    library, when = cell.split(", ")
    app = Romancy(url, workflows=[greet, wait_for_payment], worker=False)
    async with app, opened(library, url) as caller:
        await caller.write(cell)
        await app.start_many([greet.options(instance_id=f"start {cell}").bind(cell)], session=caller.session)
        await app.signal(f"wait {cell}", PAID, 1, session=caller.session)
        await app.publish("greeted", cell, session=caller.session)
        if when == "after":
            await caller.commit()
        os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError(cell)


def _main(url: str) -> None:
    for when in TIMES:
        for cell in cells(url, when):
            child = os.fork()
            if child == 0:
                try:
                    asyncio.run(_cell(url, cell))
                finally:
                    os._exit(1)
            assert (child, signal.SIGKILL) == os.waitpid(child, 0), cell


if __name__ == "__main__":
    _main(sys.argv[1])
