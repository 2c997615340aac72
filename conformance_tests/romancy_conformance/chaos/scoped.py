"""Operations with anyio's means: task groups, cancel scopes and streams."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import anyio

from romancy.errors import TerminalError
from romancy_conformance.chaos.concurrent import Rendezvous, leaf_names
from romancy_conformance.chaos.interpreting import block, has_lasted, interpret

if TYPE_CHECKING:
    from romancy_conformance.chaos.interpreting import Handler, World
    from romancy_conformance.chaos.programs import Node

__all__ = ["SCOPED"]


async def _any_group(world: World, node: Node) -> Any:
    done: dict[int, Any] = {}

    async def one(number: int, each: Node) -> None:
        done[number] = await interpret(world, each)

    async with anyio.create_task_group() as group:
        for number, each in enumerate(node.of):
            group.start_soon(one, number, each)
    return [done[number] for number in sorted(done)]


async def _any_group_fails(world: World, node: Node) -> Any:
    """One task fails when the others have reached their wait; these clean up behind a shield."""
    *branches, blocked = node.of
    rendezvous = Rendezvous(len(branches))

    async def branch(number: int, each: Node) -> None:
        try:
            await interpret(world, each)
            rendezvous.arrive()
            await block(world, blocked)
        finally:
            with anyio.CancelScope(shield=True):
                await world.do("write", f"{node.key}-{number}")

    async def fail() -> None:
        await rendezvous.all_there()
        raise TerminalError(node.key)

    try:
        async with anyio.create_task_group() as group:
            for number, each in enumerate(branches):
                group.start_soon(branch, number, each)
            group.start_soon(fail)
    except ExceptionGroup as error:
        return leaf_names(error)
    return "nothing failed"


async def _move_on(world: World, node: Node) -> Any:
    since = world.now()
    with anyio.move_on_after(node.seconds) as scope:
        await block(world, node.of[1])
    lasted = has_lasted(world, since, node.seconds)
    return [scope.cancelled_caught, lasted, await interpret(world, node.of[0])]


async def _fail_after(world: World, node: Node) -> Any:
    since = world.now()
    try:
        with anyio.fail_after(node.seconds):
            await block(world, node.of[1])
    except TimeoutError:
        return [has_lasted(world, since, node.seconds), await interpret(world, node.of[0])]
    return "what blocks went on"


async def _scope_cancel(world: World, node: Node) -> Any:
    """Cancel the scope of a group when its branch has reached its wait."""
    first, second, blocked = node.of
    there = anyio.Event()
    beside: Any = None

    async def branch() -> None:
        try:
            await interpret(world, first)
            there.set()
            await block(world, blocked)
        finally:
            with anyio.CancelScope(shield=True):
                await world.do("write", node.key)

    async with anyio.create_task_group() as group:
        group.start_soon(branch)
        await there.wait()
        # In a separate task: before Python 3.13, a TaskGroup that fails leaves its task with a pending cancellation.
        beside = await asyncio.ensure_future(interpret(world, second))
        group.cancel_scope.cancel()
    return [beside, group.cancel_scope.cancel_called]


async def _stream(world: World, node: Node) -> Any:
    """Use one end of a memory stream in each task."""
    sender, receiver = anyio.create_memory_object_stream[Any](1)
    found: list[Any] = []

    async def receive() -> None:
        async with receiver:
            async for item in receiver:
                found.append(item)  # noqa: PERF401 - in the order they come

    async with anyio.create_task_group() as group:
        group.start_soon(receive)
        async with sender:
            for each in node.of:
                await sender.send(await interpret(world, each))
    return found


SCOPED: dict[str, Handler] = {
    "any_group": _any_group,
    "any_group_fails": _any_group_fails,
    "move_on": _move_on,
    "fail_after": _fail_after,
    "scope_cancel": _scope_cancel,
    "stream": _stream,
}
