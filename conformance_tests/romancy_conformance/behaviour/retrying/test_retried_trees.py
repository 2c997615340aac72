"""Trees of children that fail at several places are retried until they complete. What they did stands once.

With `ROMANCY_SOAK=1` it retries thousands of trees.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import pytest

from romancy import (
    RetryPolicy,
    Romancy,
    RomancyError,
    TerminalError,
    WorkflowContext,
    activity,
    compensation,
    workflow,
)

if TYPE_CHECKING:
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

SOAK = os.environ.get("ROMANCY_SOAK") == "1"
AT_ONCE = 40
ROUNDS = 100 if SOAK else 1
_DEEPEST = 2
_TURNS = 8

stands: Counter[tuple[str, int]] = Counter()
broken: set[tuple[str, int]] = set()


@dataclass
class Part:
    """What a node does next: an activity, one that may be broken, a pause, or children."""

    kind: Literal["put", "breaks", "nap", "child", "children", "beside"]
    number: int
    seconds: float = 0.0
    nodes: list[Node] = field(default_factory=list["Node"])


@dataclass
class Node:
    parts: list[Part]


@compensation
async def take_back(tree: str, number: int) -> None:
    stands[tree, number] -= 1


@activity(compensation=take_back)
async def put(tree: str, number: int) -> int:
    stands[tree, number] += 1
    return number


@activity(retry=RetryPolicy.none())
async def breaks(tree: str, number: int) -> int:
    if (tree, number) in broken:
        raise TerminalError(f"broken at {number}")
    return number


@workflow
async def grows(ctx: WorkflowContext, tree: str, node: Node) -> int:
    total = 0
    for part in node.parts:
        number = part.number
        match part.kind:
            case "put":
                total += await put(tree, number)
            case "breaks":
                total += await breaks(tree, number)
            case "nap":
                await ctx.sleep(part.seconds)
            case "child":
                total += await grows(tree, part.nodes[0])
            case "children":
                total += sum(await asyncio.gather(*(grows(tree, one) for one in part.nodes)))
            case "beside":
                beside = grows(tree, part.nodes[0]), put(tree, number), breaks(tree, number + 1)
                total += sum(await asyncio.gather(*beside))
    return total


class Planting:
    """Makes one tree at random, and knows what it does when nothing is broken."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._number = 0
        self.puts: list[int] = []
        self.breaks: list[int] = []

    def node(self, depth: int = 0) -> Node:
        return Node([self._part(depth) for _ in range(self._chance.randint(1, 4))])

    def _part(self, depth: int) -> Part:
        self._number += 2
        number, chance = self._number, self._chance
        deeper = ["child", "children", "children", "beside"] if depth < _DEEPEST else []
        kind = chance.choice(["put", "put", "breaks", "nap", *deeper])
        match kind:
            case "nap":
                return Part("nap", number, chance.choice([0.01, 0.05, 0.3]))
            case "child" | "children":
                count = 1 if kind == "child" else chance.randint(2, 3)
                return Part(kind, number, nodes=[self.node(depth + 1) for _ in range(count)])
            case "beside":
                self.puts.append(number)
                self.breaks.append(number + 1)
                return Part("beside", number, nodes=[self.node(depth + 1)])
            case _:
                (self.puts if kind == "put" else self.breaks).append(number)
                return Part(kind, number)  # type: ignore[arg-type]


async def _retried(app: Romancy, tree: str) -> list[str]:
    """Grow one tree, and retry it, its causes mended one after the other. Returns what is wrong with it."""
    chance = random.Random(tree)
    planting = Planting(chance)
    node = planting.node()
    if not planting.breaks:
        return []
    causes = [(tree, one) for one in chance.sample(planting.breaks, chance.randint(1, min(3, len(planting.breaks))))]
    broken.update(causes)
    handle = await app.start(grows.options(instance_id=tree), tree, node)
    for turn in range(_TURNS):
        try:
            total = await handle.result(timeout=180)
        except RomancyError as error:
            if not causes:
                return [f"{tree}: failed although nothing is broken: {error}"]
            if chance.random() < 0.6 or turn >= _TURNS // 2:
                broken.discard(causes.pop())
            await app.retry(tree)
            continue
        wrong = [f"{tree}: {one} stands {stands[tree, one]} times" for one in planting.puts if stands[tree, one] != 1]
        want = sum(planting.puts) + sum(planting.breaks)
        return wrong if total == want else [*wrong, f"{tree}: returned {total}, not {want}"]
    return [f"{tree}: never completed"]


@pytest.mark.long
@pytest.mark.parametrize("room", [1000, 2], ids=["much room", "little room"])
async def test_what_retried_trees_have_done_stands_once(open_app: Open, room: int) -> None:
    """With little room, a parent that only waits for its retried children has to make room for them."""
    stands.clear()
    broken.clear()
    app = await open_app(max_live=room)
    wrong: list[str] = []
    for turn in range(ROUNDS):
        for found in await asyncio.gather(*(_retried(app, f"{turn}-{number}") for number in range(AT_ONCE))):
            wrong += found
    assert not wrong
