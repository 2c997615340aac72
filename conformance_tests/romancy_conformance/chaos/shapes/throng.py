"""Plays many instances of each shape beside the programs of a round, and judges them."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from romancy import StorageUnavailableError
from romancy.status import TERMINAL_STATUSES, Status
from romancy_conformance.chaos.judge import Finding
from romancy_conformance.chaos.shapes.acts import Act, Stood, read_acts
from romancy_conformance.chaos.shapes.catalogue import SHAPES, workflows_of
from romancy_conformance.chaos.shapes.honesty import compare, doubled, kept, of_life
from romancy_conformance.chaos.shapes.shape import Lives, Scene
from romancy_conformance.chaos.stage import stage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Container, Iterable, Mapping, Sequence
    from pathlib import Path

    from romancy import Romancy
    from romancy.core import LogEvent
    from romancy.storage.protocol import Store

__all__ = ["Throng"]

T = TypeVar("T")

_AT_ONCE = 40


class Throng:
    """The instances of the shapes in one round: which ones there are, and when they are met, follows from the seed."""

    def __init__(
        self, seed: str, shapes: Iterable[str], instances: int, folder: Path, only: Container[int] | None = None
    ) -> None:
        """`only`: the numbers of those that are played; None: all."""
        self._seed = seed
        self._folder = folder
        names = sorted(shapes)
        self.findings: list[Finding] = []
        self._lives: defaultdict[str, Lives] = defaultdict(Lives)
        shown = [names[at % len(names)] for at in range(instances if names else 0)]
        self.cast = [(f"{seed}-{name}-{at}", name) for at, name in enumerate(shown) if only is None or at in only]
        self.shapes = {name for _, name in self.cast}
        self._places = asyncio.Semaphore(_AT_ONCE)
        self.instances = 0
        """How many there were at the end, with those that others have started."""

    def describe(self, instance: str) -> str:
        """Describe the instance of a finding, or return nothing for another one."""
        return next((f"shape {name}: {path}" for path, name in self.cast if f"{path}." in f"{instance}."), "")

    async def play(self, apps: Mapping[bool, Romancy], store: Store, patience: float) -> None:
        """Play all instances to their ends, many at once. `apps`: the one that seals (True), and the other."""
        self._apps = apps

        async def one(path: str, name: str) -> None:
            async with self._places:
                chance = random.Random(f"{self._seed} {path}")

                def find(kind: str, text: str, instance: str = path) -> None:
                    self.findings.append(Finding(kind, instance, text))

                shape = SHAPES[name]
                scene = Scene(path, chance, apps[shape.sealed], store, self._folder, find, lives=self._lives[path])
                task = asyncio.create_task(shape.play(scene))
                rows = -1
                while not (await asyncio.wait({task}, timeout=patience))[0]:
                    if rows == (rows := await self._rows_of(path, store)):
                        find("stranded", f"it has made no progress for {patience:.0f} s")
                        task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

        await asyncio.gather(*(one(path, name) for path, name in self.cast))

    async def _rows_of(self, path: str, store: Store) -> int:
        """Count the rows in the logs of an instance and of what it has started."""
        rows = 0
        for instance in await _insist(self._instances):
            if f"{path}." in f"{instance}.":
                page = await _insist(partial(store.read, instance, after=0, limit=100_000))
                rows += 0 if page is None else len(page.rows)
        return rows

    async def judge(
        self, struck: Iterable[Stood], died: Iterable[int], *, lease: float, patience: float
    ) -> list[Finding]:
        """Wait until all have ended, also those that others started, and compare each with what it did."""
        if not self.cast:
            return []
        there = await self._until_over(patience)
        self.instances = len(there) + sum(lives.may_go and path not in there for path, lives in self._lives.items())
        acts, stood = read_acts(self._folder)
        by_instance: defaultdict[str, list[Act]] = defaultdict(list)
        for act in acts:
            by_instance[act.instance].append(act)
        lost = frozenset({*died, *(each.process for each in (*stood, *struck))})
        for instance, text in doubled(acts, [*stood, *struck], lease):
            if not self._lives[instance].is_begun_twice:
                self.findings.append(Finding("doubled", instance, text))
        for stranger in sorted(one for one in by_instance.keys() - there.keys() if not self._may_go(one)):
            self.findings.append(Finding("phantom", stranger, "it has acted, and is not there"))
        for instance, (status, sealed) in there.items():
            if status is Status.STUCK:
                self.findings.append(Finding("parked", instance, "it is stuck"))
            for log, done in await self._lives_of(instance, by_instance[instance], sealed=sealed):
                self.findings += [Finding(kind, instance, text) for kind, text in compare(log, done, lost)]
        for instance in {finding.instance for finding in self.findings}:
            lines = [kept(act) for act in sorted(by_instance[instance], key=lambda act: act.at)]
            (self._folder / f"{instance}.acts").write_text("\n".join(lines), encoding="utf-8")
        return self.findings

    async def _lives_of(
        self, instance: str, acts: list[Act], *, sealed: bool
    ) -> list[tuple[Sequence[LogEvent], list[Act]]]:
        """Return the log of each life of an instance, with what it did."""
        lives = self._lives[instance]
        if lives.is_begun_twice:
            return []
        if lives.logs:
            return [(log, of_life(log, acts)) for log in lives.logs]
        if self._may_go(instance):
            return []
        return [(await _insist(partial(self._apps[sealed].history, instance)), acts)]

    def _may_go(self, instance: str) -> bool:
        """Whether it, or what has started it, is removed after its end."""
        return any(lives.may_go and f"{path}." in f"{instance}." for path, lives in self._lives.items())

    async def _until_over(self, patience: float) -> dict[str, tuple[Status, bool]]:
        """Wait for the ends of all instances; return their ends, and whether they are sealed."""
        last = stage.moment() + patience
        while True:
            there = await _insist(self._instances)
            left = [id for id, (status, _) in there.items() if status not in (*TERMINAL_STATUSES, Status.STUCK)]
            if not left:
                return there
            if stage.moment() > last:
                self.findings += [Finding("stranded", id, f"it is {there[id][0]}") for id in left]
                return there
            await asyncio.sleep(0.2)

    async def _instances(self) -> dict[str, tuple[Status, bool]]:
        sealed = {each.name for each in workflows_of(sealed=True)}
        found = self._apps[False].iter_instances({}, workflow_name="shape_")
        return {one.instance_id: (one.status, one.workflow_name in sealed) async for one in found}


async def _insist(call: Callable[[], Awaitable[T]]) -> T:
    while True:
        try:
            return await call()
        except StorageUnavailableError:
            await asyncio.sleep(0.1)
