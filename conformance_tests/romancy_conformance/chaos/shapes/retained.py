"""Instances that workers remove soon after their ends, while operators export them and bring them back.

Nothing goes before its end, and a child goes before its parent. An export of an instance has a whole number of its
commits, from the first one; what was exported after its end comes back as it was.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from romancy import (
    InstanceConflictError,
    InstanceNotFoundError,
    Retention,
    StorageUnavailableError,
    UsageError,
    WorkflowContext,
    WorkflowFailedError,
    workflow,
)
from romancy.core import TERMINAL, decode_commit
from romancy.moving.reading import whole_parcels
from romancy.status import TERMINAL_STATUSES
from romancy_conformance.chaos.shapes.acts import DO, FORMS, read_acts
from romancy_conformance.chaos.stage import stage

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from romancy import Instance
    from romancy.core import LogEvent
    from romancy_conformance.chaos.shapes.shape import Scene

__all__ = ["Retained", "shorten_passes"]

_KINDS: Final = (*FORMS, "nap")
_NAPS: Final = (0.01, 0.1, 0.6)
_FAILS: Final = 0.3
_WITH_CHILD: Final = 0.5
_RETURNS: Final = 0.5
"""The share of those that come back from an export, when their time is over."""
_PATIENCE: Final = 30.0
"""Seconds in which the end of an instance that is not brought back is waited for."""


@workflow(version="1", retention=Retention(completed=1.0, failed=3.0, cancelled=0.0))
async def shape_retained(ctx: WorkflowContext, parts: list[Any], child: list[Any], fails: bool) -> int:  # noqa: FBT001 - stored input
    """Act, have a child beside that, and return the sum, or fail at the end."""
    beside = None
    if child:
        bound = shape_retained.options(instance_id=f"{ctx.instance_id}.c")
        beside = await ctx.start(bound, child, [], fails=False)
    total = 0
    for kind, number in parts:
        if kind == "nap":
            await ctx.sleep(_NAPS[int(number) % 3])
        else:
            total += await FORMS[kind](number)
    if beside is not None:
        total += await beside.result()
    if fails:
        raise ValueError(total)
    return total


def shorten_passes(keeping: Any) -> None:
    """Let workers of this process remove what is over within seconds: most of them do not live for a minute."""
    keeping._FIRST, keeping._MOST_OFTEN, keeping._SOON = 0.5, 2.0, 0.5


class Retained:
    """It acts, ends and goes. Its exports are compared with its log, and with what acted."""

    name = "retained"
    sealed = False
    workflows: tuple[Any, ...] = (shape_retained,)

    async def play(self, scene: Scene) -> None:
        """Play one instance until it has gone or came back."""
        await _Operator(scene).play()


class _Operator:
    """Exports one instance, and brings it back."""

    def __init__(self, scene: Scene) -> None:
        chance = scene.chance
        self._scene, self._chance, self._path = scene, chance, scene.path
        self._parts = self._drawn(stage.most // 3)
        self._child = self._drawn(stage.most // 6) if chance.random() < _WITH_CHILD else []
        self._fails = chance.random() < _FAILS
        self._right = sum(number for kind, number in (*self._parts, *self._child) if kind != "nap")
        scene.lives.may_go = True
        self._files = 0

    def _drawn(self, most: int) -> list[Any]:
        kinds = [self._chance.choice(_KINDS) for _ in range(self._chance.randint(1, max(most, 2)))]
        return [[kind, number] for number, kind in enumerate(kinds, 1)]

    async def play(self) -> None:
        """Start it, export it while it runs, await its end, and let it come back when it has gone."""
        call = shape_retained.options(instance_id=self._path).bind(self._parts, self._child, self._fails)
        await self._scene.start(call)
        watching = asyncio.create_task(self._watch_child())
        _, exports = await asyncio.gather(self._ends(), self._export_at_times())
        watching.cancel()
        if (file := await self._export()) is not None:
            exports.append(file)
        ended = [(one, log) for one in exports if (log := self._log_in(one)) and isinstance(log[-1], TERMINAL)]
        if not ended:
            return
        file, last = ended[-1]
        self._scene.lives.logs[:] = [last]
        if any(log != last for _, log in ended):
            self._find("wrong", "two exports of its end differ")
        if self._chance.random() < _RETURNS:
            await self._gone()
            await self._comes_back(file, last)

    async def _ends(self) -> None:
        """Wait for its end, of which nobody may hear: it may have gone by then."""
        outcome = await self._scene.outcome(self._path)
        if isinstance(outcome, InstanceNotFoundError):
            did = {
                act.number for act in read_acts(self._scene.folder)[0] if (act.instance, act.what) == (self._path, DO)
            }
            if missing := sorted({number for kind, number in self._parts if kind != "nap"} - did):
                self._find("lost", f"it was removed before its end: {missing} was not done")
        elif isinstance(outcome, WorkflowFailedError) if self._fails else outcome == self._right:
            return
        else:
            right = "fail" if self._fails else f"return {self._right}"
            self._find("wrong", f"it ended with {outcome!r}, and had to {right}")

    async def _watch_child(self) -> None:
        """Look whether the child is there as long as its parent is open."""
        is_known = False
        while self._child:
            child = await self._found(f"{self._path}.c")
            parent = await self._found(self._path)
            if is_known and child is None and parent is not None and parent.status not in TERMINAL_STATUSES:
                self._find("lost", "its child was removed, and it has not ended")
                return
            is_known |= child is not None
            await asyncio.sleep(0.3)

    async def _found(self, id: str) -> Instance | None:
        return await self._scene.insist(partial(self._scene.app.get_instance, id))

    # ── exports ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def _export_at_times(self) -> list[Path]:
        files: list[Path] = []
        for _ in range(self._chance.randint(0, 4)):
            await asyncio.sleep(self._chance.choice((0.0, 0.1, 0.6, 2.0)))  # the moment is what is tried
            if (file := await self._export()) is not None:
                files.append(file)
        return files

    async def _export(self) -> Path | None:
        """An export of it alone. None: it may run, or is not there."""
        while True:
            self._files += 1
            file = self._scene.folder / f"{self._path}.{self._files}.jsonl"
            try:
                found = await self._scene.app.export_instances(file, ids=[self._path])
            except StorageUnavailableError:
                await asyncio.sleep(0.1)
            except UsageError:
                if file.exists():
                    self._find("wrong", "an export was refused, and its file is there")
                return None
            else:
                return file if found.instances else None

    def _log_in(self, file: Path) -> list[LogEvent]:
        """The log in a file, which may have lost its instance while it was written."""
        log: list[LogEvent] = []
        for one in whole_parcels(file):
            rows = [row for part in one.parts() for row in part.log]
            if [row.seq for row in rows] != [*range(1, len(rows) + 1)]:
                self._find("lost", f"an export has the commits {[row.seq for row in rows]}")
            log = [event for row in rows for event in decode_commit(row.body)]
        return log

    # ── afterwards ──────────────────────────────────────────────────────────────────────────────────────────────

    async def _gone(self) -> None:
        """Wait until retention has removed it, or purge it."""
        last = stage.moment() + _PATIENCE
        while await self._found(self._path) is not None:
            if stage.moment() > last:
                await self._scene.insist(partial(self._scene.app.purge, self._path))
            await asyncio.sleep(0.5)

    async def _comes_back(self, file: Path, log: Sequence[LogEvent]) -> None:
        """Import it. It is over, so it may go again at once."""
        try:
            await self._scene.insist(partial(self._scene.app.import_instances, file))
            back = await self._scene.insist(partial(self._scene.app.history, self._path))
        except InstanceNotFoundError:
            return
        except (InstanceConflictError, UsageError) as error:
            self._find("wrong", f"it could not be brought back: {error}")
            return
        if list(back) != list(log):
            self._find("wrong", "it came back with another log")

    def _find(self, kind: str, text: str) -> None:
        self._scene.find(kind, text[:400], self._path)
