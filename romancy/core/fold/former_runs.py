"""The runs that a run retries, as far as its memory needs them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from msgspec.structs import replace

from romancy._start_options import kept
from romancy.core.fold.memory import Memory, Remembered
from romancy.core.loop.calls import rules_after
from romancy.core.words import events as ev
from romancy.core.words.family import wanted_by
from romancy.core.words.ids import derive
from romancy.core.words.shared_empty import NO_DICT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from romancy.core.fold.memory import Kind

__all__ = ["FormerRuns", "as_forked", "seed_of"]


class FormerRuns:
    """The runs so far. `begin` makes the memory of the next one."""

    __slots__ = (
        "activities", "count", "drawn", "drew", "due", "ended", "failed", "instance_id", "items", "memory", "open",
        "own", "requests", "started", "time", "undoing", "undos",
    )  # fmt: skip

    def __init__(self, instance_id: str) -> None:
        self.own = self.instance_id = instance_id
        """From which keys are derived: the instance, or where it was forked, the one that its log was copied from."""
        self.drawn: tuple[ev.Drawn, ...] = ()
        """The random values that were drawn before it was forked."""
        self.drew = ("", "")
        """From which instance and seed the last of them drew before it was forked."""
        self.started: ev.WorkflowStarted | None = None
        self.ended: ev.Command | None = None
        """The end of the last of them."""
        self.memory = Memory()
        self.items: dict[Remembered, None] = {}
        """The requests of the last of them, in their order."""
        self.activities: dict[str, Remembered] = {}
        self.open: dict[tuple[Kind, str], Remembered] = {}
        """Those that have not ended."""
        self.undoing: dict[str, Remembered] = {}
        self.undos: dict[str, Remembered] = {}
        """The activities to which undos belong that the body has registered."""
        self.failed: dict[str, ev.ActivityFailed] = {}
        """The failures of activities, by their ids."""
        self.due: dict[str, int] = {}
        """When the next attempt at an activity was due, by its id."""
        self.time = 0
        """When the last owner took the instance up, or a caller ended it."""
        self.count = 0
        """How many requests of the last of them were answered."""
        self.requests: dict[tuple[str, str], None] = NO_DICT
        """The requests of senders that were answered, by name and id."""

    def unsure(self) -> list[Remembered]:
        """The items in doubt: they did not answer, or their compensation failed for good or was cut off."""
        return [item for item in self._all() if item.unsure]

    def children(self) -> list[Remembered]:
        """The children that did not complete."""
        return [item for item in self._all() if item.kind == "children" and item.answer is None and not item.undone]

    @property
    def wanted_by(self) -> str:
        """The run of the parent on whose behalf the last of them worked."""
        return "" if self.started is None else wanted_by(self.started)

    def retried(
        self,
        *,
        at: int,
        unsure: Literal["", "done", "undone"],
        gone: tuple[str, ...],
        by: str,
        running: Mapping[str, str] = NO_DICT,
    ) -> ev.WorkflowRetried:
        """The event with which a retry of the last of them begins. A child is retried `by` its parent or a person."""
        last = self.run
        run = last.run + 1
        nonce = derive(self.instance_id, last.nonce, "retry", run).hex()[:32]
        return ev.WorkflowRetried(
            at=at,
            workflow=last.workflow,
            input=last.input,
            nonce=nonce,
            run=run,
            code=last.code,
            parent=last.parent,
            runtime=last.runtime,
            budget=last.budget,
            rules=rules_after(last.rules),
            subscriptions=last.subscriptions,
            seed=seed_of(last),
            unsure=unsure,
            gone=gone,
            by=by or ("" if last.parent is None else nonce),
            running=dict(running),
            drawn=self.drawn,
            **kept(last),
        )

    def begin(self, event: ev.WorkflowRetried) -> Memory:
        """The memory with which this run begins."""
        gone = set(event.gone)
        items = [item for item in self._all() if _matters(item, gone)]
        for item in items:
            if item.unsure:
                item.unsure = False
                item.undone = event.unsure == "undone"
                item.owed = not (item.undone or item.registered) and item.answer is not None
                item.declared = not (item.undone or item.registered) and item.answer is None
        self.start(event)
        self.memory = Memory(items)
        return self.memory

    def _all(self) -> list[Remembered]:
        """The requests of the last run, and what the runs before it left."""
        return [*self.items, *self.memory.left()]

    # ── used by the rules ───────────────────────────────────────────────────────────────────────────────────────

    @property
    def run(self) -> ev.WorkflowStarted:
        assert self.started is not None  # noqa: S101 - a log begins with its start
        return self.started

    def start(self, event: ev.WorkflowStarted) -> None:
        self.started, self.ended = event, None
        self.instance_id = event.identity or self.own
        self.drawn = event.drawn if isinstance(event, ev.WorkflowRetried) else ()
        self.memory, self.items, self.open = Memory(), {}, {}
        self.activities, self.undoing, self.undos, self.due, self.failed = {}, {}, {}, {}, {}

    def fork(self, event: ev.WorkflowForked) -> None:
        """What follows is not copied any more."""
        self.drew = self.instance_id, seed_of(self.run)
        self.instance_id = event.identity or self.own
        self.started = as_forked(self.run, event)
        if event.back:
            self.memory.forget()
        else:
            self.memory.of_another()

    def note(
        self, kind: Kind, event: Any, former: Remembered | None, *, name: str = "", what: bytes = b"", key: str = ""
    ) -> Remembered:
        """Remember a request. If a former run made it and it stands, this one continues that."""
        id = f"{event.id}@{self.run.run}"
        item = Remembered(kind=kind, id=id, name=name, what=what, key=key, asked=event)
        if former is not None and not former.undone:
            item.id, item.position, item.undo_key = former.id, former.position, former.undo_key
            item.answer, item.default = former.answer, former.default
        self.items[item] = None
        self.open[kind, event.id] = item
        return item


def seed_of(started: ev.WorkflowStarted) -> str:
    """From which a run draws random values."""
    return started.seed if isinstance(started, ev.WorkflowRetried) else started.nonce


def as_forked(started: ev.WorkflowStarted, event: ev.WorkflowForked, **more: Any) -> ev.WorkflowStarted:
    """The start of a run, as from which ids and values are derived behind the fork."""
    if isinstance(started, ev.WorkflowRetried):
        more["seed"] = event.nonce
    return replace(started, nonce=event.nonce, identity=event.identity, **more)


def _matters(item: Remembered, gone: set[str]) -> bool:
    """Whether a run can use it. Delays and waits that did not end, and children that are gone, begin again."""
    if item.answer is None:
        stands = item.kind in ("activities", "messages", "sends", "writes")
        return stands or (item.kind == "children" and item.key not in gone)
    return True
