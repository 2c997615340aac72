"""Trees of children that fail at several places and are retried, while the causes are mended one after the other."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from romancy import (
    InstanceEndedError,
    RetryPolicy,
    RomancyError,
    TerminalError,
    UsageError,
    WorkflowContext,
    activity,
    workflow,
)
from romancy.core import ActivityCancelled
from romancy_conformance.chaos.plain import outside
from romancy_conformance.chaos.shapes.acts import DO, UNDO, Act, put, read_acts

if TYPE_CHECKING:
    import random
    from pathlib import Path

    from romancy_conformance.chaos.shapes.shape import Scene

__all__ = ["Retried"]

_TURNS = 6
_LAST_BROKEN = 3


def _cause(folder: Path, root: str, number: int) -> Path:
    """Return the file that stands while something is broken."""
    return folder / f"broken-{root}-{number}"


def _is_of(act: Act, root: str) -> bool:
    return f"{act.instance}.".startswith(f"{root}.")


@activity(retry=RetryPolicy.none())
async def shape_boom(root: str, number: int) -> int:
    if _cause(outside[-1].parent, root, number).exists():
        raise TerminalError(f"broken at {number}")
    return number


@workflow(version="1")
async def shape_tree(ctx: WorkflowContext, root: str, parts: list[Any]) -> int:
    total = 0
    for part in parts:
        number = part["number"]
        match part["kind"]:
            case "put":
                total += await put(number)
            case "boom":
                total += await shape_boom(root, number)
            case "nap":
                await ctx.sleep(part["seconds"])
            case "child":
                total += await shape_tree(root, part["of"][0])
            case "children":
                total += sum(await asyncio.gather(*(shape_tree(root, each) for each in part["of"])))
            case _:
                beside = (shape_tree(root, part["of"][0]), put(number), shape_boom(root, number + 1))
                total += sum(await asyncio.gather(*beside))
    return total


class _Tree:
    """A tree, and what it has to do."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._number = 0
        self.puts: list[int] = []
        self.booms: list[int] = []
        self.parts = self._level(0)

    def _level(self, depth: int) -> list[Any]:
        return [self._part(depth) for _ in range(self._chance.randint(1, 4))]

    def _part(self, depth: int) -> dict[str, Any]:
        self._number += 2
        number = self._number
        deeper = ("child", "children", "children", "beside") if depth < 2 else ()
        kind = self._chance.choice(("put", "put", "boom", "nap", *deeper))
        part: dict[str, Any] = {"kind": kind, "number": number}
        if kind in {"put", "beside"}:
            self.puts.append(number)
        if kind in {"boom", "beside"}:
            self.booms.append(number if kind == "boom" else number + 1)
        if kind == "nap":
            part["seconds"] = self._chance.choice((0.01, 0.05, 0.3))
        elif kind in {"child", "children", "beside"}:
            many = self._chance.randint(2, 3) if kind == "children" else 1
            part["of"] = [self._level(depth + 1) for _ in range(many)]
        return part


class Retried:
    """It fails, and is retried until nothing is broken any more."""

    name = "retried"
    sealed = False
    workflows: tuple[Any, ...] = (shape_tree,)

    async def play(self, scene: Scene) -> None:
        """Fail one tree several times, and compare what stands at its end."""
        tree = _Tree(scene.chance)
        while not tree.booms:
            tree = _Tree(scene.chance)
        broken = scene.chance.sample(tree.booms, scene.chance.randint(1, min(3, len(tree.booms))))
        causes = [_cause(scene.folder, scene.path, number) for number in broken]
        for cause in causes:
            cause.touch()
        await scene.start(shape_tree.options(instance_id=scene.path).bind(scene.path, tree.parts))
        outcome = await self._mend(scene, causes)
        if (right := sum(tree.puts) + sum(tree.booms)) != outcome:
            scene.find("wrong", f"it ended with {outcome}, and had to return {right}"[:300])
        for number, stands in self._stands(scene, tree).items():
            if stands != 1 and not (stands > 1 and await self._was_unsure(scene, number)):
                scene.find("lost" if stands < 1 else "doubled", f"{number} stands {stands} times after its retries")

    async def _mend(self, scene: Scene, causes: list[Path]) -> Any:
        """Retry it each time that it has failed, with one cause fewer now and then; return its last outcome."""
        for turn in range(_TURNS):
            outcome = await scene.outcome(scene.path)
            if not isinstance(outcome, RomancyError):
                return outcome
            if not causes:
                scene.find("wrong", f"it failed in turn {turn}, and nothing was broken: {outcome}"[:300])
            most = len(causes) if turn >= _LAST_BROKEN else int(scene.chance.random() < 0.6)
            for cause in causes[:most]:
                cause.unlink()
            del causes[:most]
            await self._retry(scene)
        return await scene.outcome(scene.path)

    @staticmethod
    async def _retry(scene: Scene) -> None:
        """Retry it; the answer before a repeated call may have been lost."""
        try:
            await scene.insist(lambda: scene.app.retry(scene.path, unsure="undone"))
        except (InstanceEndedError, UsageError):
            return

    @staticmethod
    async def _was_unsure(scene: Scene, number: int) -> bool:
        """Whether nobody knew if it was done, so that a retry took it as undone, which it is told to do."""
        acts = [act for act in read_acts(scene.folder)[0] if act.number == number and _is_of(act, scene.path)]
        for instance in {act.instance for act in acts}:
            ids = {act.activity for act in acts if act.instance == instance}
            history = await scene.insist(partial(scene.app.history, instance))
            if any(isinstance(event, ActivityCancelled) and event.unknown and event.id in ids for event in history):
                return True
        return False

    @staticmethod
    def _stands(scene: Scene, tree: _Tree) -> dict[int, int]:
        """Count what stands of each number; a key counts once, as it does for a receiver that knows it."""
        keys: dict[tuple[str, int], set[str]] = {}
        for act in read_acts(scene.folder)[0]:
            if _is_of(act, scene.path):
                keys.setdefault((act.what, act.number), set()).add(act.key)
        return {number: len(keys.get((DO, number), ())) - len(keys.get((UNDO, number), ())) for number in tree.puts}
