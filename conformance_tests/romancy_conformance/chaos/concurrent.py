"""Operations with asyncio's means; each use has one outcome."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from romancy.errors import TerminalError
from romancy_conformance.chaos.interpreting import block, has_lasted, interpret

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from romancy_conformance.chaos.interpreting import Handler, World
    from romancy_conformance.chaos.programs import Node

__all__ = ["CONCURRENT", "Rendezvous", "leaf_names"]

_LONG = 3600.0


class Rendezvous:
    """A meeting point of several tasks; `all_there` continues when each of them has arrived."""

    def __init__(self, parties: int) -> None:
        self._missing = parties
        self._there = asyncio.Event()

    def arrive(self) -> None:
        self._missing -= 1
        if not self._missing:
            self._there.set()

    async def all_there(self) -> None:
        await self._there.wait()


def leaf_names(error: BaseException) -> list[str]:
    """Return the types of the errors in a group."""
    if isinstance(error, BaseExceptionGroup):
        return sorted(name for each in error.exceptions for name in leaf_names(each))  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType, reportUnknownArgumentType] - of any errors
    return [type(error).__name__]


async def _gather(world: World, node: Node) -> Any:
    return await asyncio.gather(*(interpret(world, each) for each in node.of))


async def _gather_errors(world: World, node: Node) -> Any:
    found = await asyncio.gather(*(interpret(world, each) for each in node.of), return_exceptions=True)
    return [type(each).__name__ if isinstance(each, BaseException) else each for each in found]


async def _group(world: World, node: Node) -> Any:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(interpret(world, each)) for each in node.of]
    return [task.result() for task in tasks]


async def _group_fails(world: World, node: Node) -> Any:
    *branches, blocked = node.of
    rendezvous, done = Rendezvous(len(branches)), dict[str, Any]()

    async def branch(each: Node) -> None:
        done[str(len(done))] = None
        try:
            await interpret(world, each)
            rendezvous.arrive()
            await block(world, blocked)
        finally:
            await world.do("write", f"{node.key}-{branches.index(each)}")

    async def fail() -> None:
        await rendezvous.all_there()
        raise TerminalError(node.key)

    try:
        async with asyncio.TaskGroup() as group:
            for each in branches:
                group.create_task(branch(each))
            group.create_task(fail())
    except ExceptionGroup as error:
        return [len(done), *leaf_names(error)]
    return "nothing failed"


async def _as_completed(world: World, node: Node) -> Any:
    found = [await each for each in asyncio.as_completed([interpret(world, each) for each in node.of])]
    return sorted(map(str, found))


async def _wait_first(world: World, node: Node) -> Any:
    quick = asyncio.ensure_future(interpret(world, node.of[0]))
    slow = asyncio.ensure_future(block(world, node.of[1]))
    done, late = await asyncio.wait({quick, slow}, return_when=asyncio.FIRST_COMPLETED)
    for each in late:
        each.cancel()
    await asyncio.gather(*late, return_exceptions=True)
    return [quick in done, len(late), quick.result() if quick in done and not quick.cancelled() else None]


async def _in_time(world: World, node: Node) -> Any:
    async with asyncio.timeout(_LONG):
        return [await interpret(world, each) for each in node.of]


async def _too_late(world: World, node: Node) -> Any:
    done = await interpret(world, node.of[0])
    since = world.now()
    try:
        async with asyncio.timeout(node.seconds):
            await block(world, node.of[1])
    except TimeoutError:
        return [done, has_lasted(world, since, node.seconds)]
    return "what blocks went on"


async def _wait_for_hit(world: World, node: Node) -> Any:
    since = world.now()
    try:
        await asyncio.wait_for(block(world, node.of[1]), node.seconds)
    except TimeoutError:
        return [await interpret(world, node.of[0]), has_lasted(world, since, node.seconds)]
    return "what blocks went on"


async def _shield(world: World, node: Node) -> Any:
    gate = asyncio.Event()

    async def inner() -> Any:
        await gate.wait()
        return await interpret(world, node.of[0])

    task = asyncio.ensure_future(inner())
    try:
        await asyncio.wait_for(asyncio.shield(task), node.seconds)
    except TimeoutError:
        gate.set()
    return await task


async def _cancel_task(world: World, node: Node) -> Any:
    first, second, blocked = node.of
    there = asyncio.Event()

    async def victim() -> None:
        try:
            await interpret(world, first)
            there.set()
            await block(world, blocked)
        finally:
            await world.do("write", node.key)

    task = asyncio.ensure_future(victim())
    await there.wait()
    beside = await interpret(world, second)
    task.cancel()
    (end,) = await asyncio.gather(task, return_exceptions=True)
    return [beside, type(end).__name__]


async def _queue(world: World, node: Node) -> Any:
    queue: asyncio.Queue[tuple[int, Node] | None] = asyncio.Queue(maxsize=2)
    done: dict[int, Any] = {}

    async def work() -> None:
        while (item := await queue.get()) is not None:
            number, each = item
            done[number] = await interpret(world, each)
            queue.task_done()

    workers = [asyncio.ensure_future(work()) for _ in range(min(node.count, 2))]
    for item in enumerate(node.of):
        await queue.put(item)
    await queue.join()
    for _ in workers:
        await queue.put(None)
    await asyncio.gather(*workers)
    return [done[number] for number in sorted(done)]


async def _limited(world: World, node: Node) -> Any:
    """Use a lock or a semaphore: never more tasks inside at once than it admits."""
    most = 1 if node.op == "lock" else min(node.count, 2)
    guard = asyncio.Lock() if node.op == "lock" else asyncio.Semaphore(most)
    inside = seen = 0

    async def one(each: Node) -> Any:
        nonlocal inside, seen
        async with guard:
            inside += 1
            seen = max(seen, inside)
            try:
                return await interpret(world, each)
            finally:
                inside -= 1

    return [await asyncio.gather(*map(one, node.of)), seen <= most]


async def _event(world: World, node: Node) -> Any:
    first, *others = node.of
    event = asyncio.Event()

    async def waiting(each: Node) -> Any:
        await event.wait()
        return await interpret(world, each)

    tasks = [asyncio.ensure_future(waiting(each)) for each in others]
    result = await interpret(world, first)
    event.set()
    return [result, *await asyncio.gather(*tasks)]


async def _condition(world: World, node: Node) -> Any:
    condition, ready = asyncio.Condition(), 0

    async def consume() -> int:
        async with condition:
            await condition.wait_for(lambda: ready == len(node.of))
            return ready

    async def produce(each: Node) -> None:
        nonlocal ready
        await interpret(world, each)
        async with condition:
            ready += 1
            condition.notify_all()

    async with asyncio.TaskGroup() as group:
        heard = [group.create_task(consume()) for _ in range(2)]
        for each in node.of:
            group.create_task(produce(each))
    return [task.result() for task in heard]


async def _generator(world: World, node: Node) -> Any:
    async def items() -> AsyncGenerator[Any]:
        try:
            for each in node.of:
                yield await interpret(world, each)
        finally:
            await world.do("write", node.key)

    found: list[Any] = []
    async with aclosing(items()) as stream:
        async for item in stream:
            found.append(item)
            if len(found) == node.count:
                break
    return found


async def _callbacks(world: World, node: Node) -> Any:
    loop = asyncio.get_running_loop()
    came: asyncio.Future[str] = loop.create_future()
    never = loop.call_later(_LONG, came.set_result, "hours later")
    loop.call_later(node.seconds, came.set_result, node.key)
    first = await came
    never.cancel()
    return [first, await interpret(world, node.of[0])]


async def _crowd(world: World, node: Node) -> Any:
    """Run many tasks that need nothing from outside."""
    queue: asyncio.Queue[int] = asyncio.Queue(maxsize=1)

    async def put(number: int) -> None:
        await queue.put(number)

    async def drain() -> int:
        return sum([await queue.get() for _ in range(node.count)])

    total, *_ = await asyncio.gather(drain(), *map(put, range(node.count)))
    return total


CONCURRENT: dict[str, Handler] = {
    "gather": _gather,
    "gather_errors": _gather_errors,
    "group": _group,
    "group_fails": _group_fails,
    "as_completed": _as_completed,
    "wait_first": _wait_first,
    "in_time": _in_time,
    "too_late": _too_late,
    "wait_for_hit": _wait_for_hit,
    "shield": _shield,
    "cancel_task": _cancel_task,
    "queue": _queue,
    "lock": _limited,
    "semaphore": _limited,
    "event": _event,
    "condition": _condition,
    "generator": _generator,
    "callbacks": _callbacks,
    "crowd": _crowd,
}
