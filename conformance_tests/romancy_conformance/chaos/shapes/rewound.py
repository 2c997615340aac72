"""Instances that operators rewind and fork at random points, open or ended, while their workers die.

Whatever was rewound, each instance returns at its end what it has to, and so does each fork. What is in doubt may not
be done again without a word: as long as an instance was only rewound where nothing stands (`undo="refuse"`), each of
its steps acts under one key. If all of its rewinds undo (`undo="compensate"`), each step stands once at the end. Each
key belongs to a run that the log has.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from romancy import RomancyError, StorageUnavailableError, UsageError, WorkflowContext, workflow
from romancy.core import (
    ActivityCompleted,
    ActivityScheduled,
    WorkflowForked,
    WorkflowRewound,
    WorkflowStarted,
    idempotency_key,
)
from romancy.status import TERMINAL_STATUSES, Status
from romancy_conformance.chaos.shapes.acts import DO, FORMS, UNDO, put_lazily, read_acts
from romancy_conformance.chaos.shapes.paused import shape_lasts
from romancy_conformance.chaos.stage import stage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from romancy.core import LogEvent
    from romancy.going_back import RewindUndo
    from romancy_conformance.chaos.shapes.acts import Act
    from romancy_conformance.chaos.shapes.shape import Scene

__all__ = ["Rewound", "strange_keys"]

_ACTS: Final = {**FORMS, "lasts": shape_lasts}
_KINDS: Final = (*_ACTS, "lasts", "nap", "beside")
_NAPS: Final = (0.01, 0.1, 0.6)
_WAYS: Final[tuple[tuple[RewindUndo, ...], ...]] = (("refuse",), ("compensate",), ("refuse", "keep", "compensate"))
"""What the rewinds of one instance say about the work behind the point."""
_AGAIN: Final = 0.5
"""The share of those that are rewound once more when they have completed."""
_TWO: Final = 0.3
"""The share with two operators at once."""


@workflow(version="1")
async def shape_rewound(ctx: WorkflowContext, parts: list[Any]) -> int:
    """Act, and return the sum."""
    total = 0
    for kind, number in parts:
        match kind:
            case "nap":
                await ctx.sleep(_NAPS[int(number) % 3])
            case "beside":
                total += sum(await asyncio.gather(*(form(number) for form in _ACTS.values())))
            case _:
                total += await _ACTS[kind](number)
    return total


class Rewound:
    """It is rewound, forked, paused and unpaused at random moments."""

    name = "rewound"
    sealed = False
    workflows: tuple[Any, ...] = (shape_rewound,)

    async def play(self, scene: Scene) -> None:
        """Play one instance and its forks to their ends, and look at its log."""
        operators = _Operators(scene)
        await operators.play()
        await operators.judge()


class _Operators:
    """Those who act on one instance."""

    def __init__(self, scene: Scene) -> None:
        chance = scene.chance
        self._scene, self._chance, self._path = scene, chance, scene.path
        kinds = [chance.choice(_KINDS) for _ in range(chance.randint(stage.most // 8, stage.most // 3))]
        self._parts: list[Any] = [[kind, number] for number, kind in enumerate(kinds)]
        self._right = sum(number * _times(kind) for number, kind in enumerate(kinds))
        self._undo = chance.choice(_WAYS)
        self._rewinds = 0
        self._is_unsure = False
        """Whether a call was not answered, which may be carried out later."""
        self._forks: list[str] = []

    async def play(self) -> None:
        """Start it, let all act on it at once, and let it end."""
        await self._scene.start(shape_rewound.options(instance_id=self._path).bind(self._parts))
        acting = [self._act(number) for number in range(2 if self._chance.random() < _TWO else 1)]
        await asyncio.gather(*acting)
        await self._let_end(self._path)
        if self._chance.random() < _AGAIN:
            await self._rewind()
            await self._let_end(self._path)
        for fork in self._forks:
            await self._let_end(fork)

    # ── what they do ────────────────────────────────────────────────────────────────────────────────────────────

    async def _act(self, operator: int) -> None:
        for number in range(self._chance.randint(2, 6)):
            await asyncio.sleep(self._chance.choice((0.0, 0.03, 0.2, 1.0, 3.0)))  # the moment is what is tried
            match self._chance.choice(("rewind", "rewind", "rewind", "fork", "pause", "unpause")):
                case "rewind":
                    await self._rewind()
                case "fork":
                    await self._fork(f"{self._path}.f{operator}{number}")
                case "pause":
                    await self._called(partial(self._scene.app.pause, self._path, reason="as the shape says"))
                case _:
                    await self._called(partial(self._scene.app.unpause, self._path))

    async def _rewind(self) -> None:
        if (point := await self._point()) is None:
            return
        call = partial(self._scene.app.rewind, self._path, undo=self._chance.choice(self._undo), **point)
        if await self._called(call):
            self._rewinds += 1

    async def _fork(self, id: str) -> None:
        if (point := await self._point()) is None:
            return
        if await self._called(partial(self._scene.app.fork, self._path, id=id, **point)):
            self._forks.append(id)

    async def _point(self) -> dict[str, Any] | None:
        """A step of its log, or the number of a commit."""
        page = await self._scene.insist(partial(self._scene.store.read, self._path, after=0, limit=10_000))
        log = await self._scene.insist(partial(self._scene.app.history, self._path))
        steps = [event.id for event in log if isinstance(event, ActivityScheduled)]
        if page is None or not steps:
            return None
        if self._chance.random() < 0.3:
            return {"at": self._chance.choice(page.rows).seq}
        return {"before": self._chance.choice(steps[-3:] if self._chance.random() < 0.5 else steps)}

    async def _called(self, call: Callable[[], Awaitable[object]]) -> bool:
        """Make a call until it is answered. False: it does not fit what the instance is now."""
        while True:
            try:
                await call()
            except StorageUnavailableError:
                self._is_unsure = True
                await asyncio.sleep(0.1)
            except UsageError:
                return False
            else:
                return True

    async def _let_end(self, path: str) -> None:
        """Unpause it until it has ended."""
        while True:
            page = await self._scene.insist(partial(self._scene.store.read, path, limit=0))
            if page is None or page.instance.status in TERMINAL_STATUSES:
                return
            if page.instance.status is Status.PAUSED:
                await self._called(partial(self._scene.app.unpause, path))
            await asyncio.sleep(self._chance.uniform(0.1, 2.0))

    # ── what they see ───────────────────────────────────────────────────────────────────────────────────────────

    async def judge(self) -> None:
        """Look at the ends of all, and at the log of the instance."""
        for path in (self._path, *self._forks):
            outcome = await self._scene.outcome(path)
            if isinstance(outcome, RomancyError) or outcome != self._right:
                self._scene.find("wrong", f"it ended with {outcome!r}, and had to return {self._right}"[:400], path)
        log = await self._scene.insist(partial(self._scene.app.history, self._path))
        acts = [act for act in read_acts(self._scene.folder)[0] if act.instance == self._path]
        made = sum(isinstance(event, WorkflowRewound) for event in log)
        if made and self._undo != ("refuse",):
            self._scene.lives.is_begun_twice = True  # what was open at the point is done again under its key
        if made < self._rewinds or (made > self._rewinds and not self._is_unsure):
            self._find("wrong", f"{self._rewinds} rewinds were answered, and its log has {made}")
        for text in strange_keys(self._path, log, acts):
            self._find("unheard", text)
        did, undid = _keys(acts, DO), _keys(acts, UNDO)
        if self._undo == ("compensate",):  # what has no end in the log is in doubt, and may stand
            _, completed = _keys_of(self._path, log)
            did = {number: keys & completed.keys() for number, keys in did.items()}
        if undid and "compensate" not in self._undo:
            self._find("undone", "something was undone, and no run of it has failed")
        for kind, number in self._parts:
            stands, right = (
                len(did.get(number, ())) - len(undid.get(number, ())),
                _times(kind) - (kind in {"beside", "lazy"}),
            )
            if len(self._undo) == 1 and stands != right:
                self._find(
                    "doubled" if stands > right else "lost", f"{number} ({kind}) stands {stands} times at the end"
                )

    def _find(self, kind: str, text: str) -> None:
        self._scene.find(kind, text[:400], self._path)


def _times(kind: str) -> int:
    """How often a part counts."""
    return len(_ACTS) if kind == "beside" else int(kind in _ACTS)


def _keys(acts: Sequence[Act], what: str) -> dict[int, set[str]]:
    """Under which keys each step acted. What is lazy may be missing in the log of a worker that has died."""
    found: dict[int, set[str]] = defaultdict(set)
    for act in acts:
        if act.what == what and not _is_lazy(act.activity):
            found[act.number].add(act.key)
    return found


def _keys_of(instance: str, log: Sequence[LogEvent]) -> tuple[set[str], dict[str, str]]:
    """The keys of all activities of this log, and of those that completed, with their ids."""
    nonce, of, open_ones, completed, known = "", dict[str, str](), set[str](), dict[str, str](), set[str]()
    for event in log:
        match event:
            case WorkflowStarted():
                nonce, of = event.nonce, {}
                open_ones.clear()
            case WorkflowForked():  # what is open and was undone has another key from here on
                nonce = event.nonce
                of |= {id: idempotency_key(instance, nonce, id) for id in open_ones}
            case ActivityScheduled():
                of[event.id] = event.key or idempotency_key(instance, nonce, event.id)
                if not event.key:
                    open_ones.add(event.id)
            case ActivityCompleted() if event.id in of:
                open_ones.discard(event.id)
                completed[of[event.id]] = event.id
            case _:
                pass
        known |= set(of.values())
    return known, completed


def strange_keys(instance: str, log: Sequence[LogEvent], acts: Sequence[Act]) -> list[str]:
    """Return what acted under a key that no run of this log gives, and what completed and has not acted."""
    known, completed = _keys_of(instance, log)
    did = {act.key for act in acts if act.what == DO}
    strange = {act.key: act for act in acts if act.what == DO and act.key not in known and not _is_lazy(act.activity)}
    return [
        *(f"{act.activity} has acted under a key that is of no run" for act in strange.values()),
        *(f"{id} completed in the log, and has not acted" for key, id in completed.items() if key not in did),
    ]


def _is_lazy(activity: str) -> bool:
    return activity.startswith(put_lazily.name)
