"""Run by `test_isolation` on other Pythons, without pytest: the family inside each kind of host."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import anyio
import uvloop

from romancy.core import driving
from romancy_conformance.workflows import FAMILY
from tests.core.driver import World


def play_all() -> None:
    for name, scenario in FAMILY.items():
        outcome = World(scenario).finish()
        assert outcome.status is scenario.status, name


async def in_a_task() -> None:
    before = (asyncio.current_task(), asyncio.get_running_loop(), sys.get_asyncgen_hooks())
    play_all()
    assert (asyncio.current_task(), asyncio.get_running_loop(), sys.get_asyncgen_hooks()) == before
    await asyncio.sleep(0)


async def in_one_go() -> None:
    """Run all of them within one `driving` block; the host's own loop is visible in between."""
    before = (asyncio.current_task(), asyncio.get_running_loop(), sys.get_asyncgen_hooks())
    with driving():
        for name, scenario in FAMILY.items():
            assert World(scenario).finish().status is scenario.status, name
            assert asyncio.get_running_loop() is before[1], name
    assert (asyncio.current_task(), asyncio.get_running_loop(), sys.get_asyncgen_hooks()) == before
    await asyncio.sleep(0)


async def in_a_callback() -> None:
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[None] = loop.create_future()

    def play() -> None:
        try:
            play_all()
        finally:
            answer.set_result(None)

    loop.call_soon(play)
    await answer


def main() -> None:
    for play in (in_a_task, in_a_callback, in_one_go):
        asyncio.run(play())
        print("ok")
        anyio.run(play)
        print("ok")
        factory: Any = uvloop.new_event_loop
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(play())
        print("ok")


if __name__ == "__main__":
    main()
