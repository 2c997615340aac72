"""Goes back to an earlier point of an instance: as another instance, or as another run of the same one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

from romancy.engine import (
    Rewind,
    Wanted,
    fork,
    new_life,
    plan_of_fork,
    plan_of_rewind,
    rewind,
    row_of,
)
from romancy.engine.surroundings import here
from romancy.errors import UsageError
from romancy.going_back import ForkChildren, RewindUndo
from romancy.managing.acting import Acting
from romancy.storage.limits import check_id

if TYPE_CHECKING:
    from collections.abc import Mapping

    from msgspec import Raw

    from romancy.going_back import ForkPlan
    from romancy.registry import Registry
    from romancy.workflow import Workflow

__all__ = ["GoingBack"]


class GoingBack(Acting):
    """Forks and rewinds instances, wherever they run."""

    async def fork(
        self,
        instance_id: str,
        *,
        before: str | None = None,
        at: int | None = None,
        input: Mapping[str, Any] | None = None,
        id: str | None = None,
        children: ForkChildren = "keep",
    ) -> str:
        """Begin another instance with a copy of this one's log up to a point, from which it goes on. Returns its id.

        The point is `before` a step, by its id (`charge:2`), or behind the commit `at` of the log. The instance itself
        stays as it is, and may be open or have ended. The fork has the outcomes of all that ended before the point.
        What was open there it does again, with new keys: see `plan_fork`. It has its own random values and ids from the
        point on. `input` has new arguments by their names; where they change what the copied part shows, the fork is
        stuck. Children that were open at the point are started anew with `children="again"`; with `"keep"` their ends
        count, and those that have not ended are an error. The same call with an `id` is the same fork.
        """
        _check_point(before, at, children)
        check_id(instance_id)
        if id is not None:
            check_id(id)
        store = self._access.to_write("fork", instance_id)
        with self._access.deadlines.call("fork", [instance_id]):
            definition = await self._definition_of(instance_id, "fork")
            fork_id = id if id is not None else f"{here().wall() // 1_000_000:012x}{here().octets(8).hex()}"
            wanted = Wanted(
                source=instance_id,
                instance_id=fork_id,
                life=new_life(fork_id),
                before=before,
                at=at,
                input=None if input is None else _encoded(definition, input),
                children=children,
            )
            await fork(store, self._access.actor, self._registry_here("fork"), wanted)
        self._access.stir()
        return fork_id

    async def plan_fork(
        self,
        instance_id: str,
        *,
        before: str | None = None,
        at: int | None = None,
        children: ForkChildren = "keep",
    ) -> ForkPlan:
        """What `fork` would keep of the instance, do again and leave out. Nothing is written."""
        _check_point(before, at, children)
        await self._definition_of(instance_id, "fork")
        return await plan_of_fork(
            self._access.opened("plan_fork"),
            self._registry_here("fork"),
            instance_id,
            before=before,
            at=at,
            children=children,
        )

    async def rewind(
        self,
        instance_id: str,
        *,
        before: str | None = None,
        at: int | None = None,
        undo: RewindUndo = "refuse",
        children: ForkChildren = "keep",
    ) -> None:
        """Take an instance back to a point of its log, from which it goes on under its id. It may have ended.

        The point is `before` a step, by its id (`charge:2`), or behind the commit `at` of the log. The instance has the
        outcomes of all that ended before the point. What was open there it does again, under the same keys; what it
        does behind the point has new keys. Work behind the point that was completed and not undone is refused by name,
        unless `undo="keep"` says that it may stand, or `undo="compensate"` that it is undone first, as if the run had
        failed: see `plan_rewind`. Until then the instance is `compensating` and runs no code; if an undo fails for
        good, it is paused behind the others. `children`: as of `fork`. A worker that holds
        the instance first lets what is at work end, for up to ten seconds. A paused instance stays paused. Raises
        UsageError, with nothing written, for what cannot be rewound.
        """
        _check_point(before, at, children)
        _check_undo(undo)
        check_id(instance_id)
        access = self._access
        store = access.to_write("rewind", instance_id)
        with access.deadlines.call("rewind", [instance_id]) as call:
            await self._definition_of(instance_id, "rewind")
            wanted = Rewind(instance_id=instance_id, before=before, at=at, undo=undo, children=children)
            registry = self._registry_here("rewind")
            worker = access.actor
            await rewind(store, worker, registry, wanted, stamp=access.stamp, answered=call.renew)
        access.stir()

    async def plan_rewind(
        self,
        instance_id: str,
        *,
        before: str | None = None,
        at: int | None = None,
        undo: RewindUndo = "refuse",
        children: ForkChildren = "keep",
    ) -> ForkPlan:
        """What `rewind` would keep of the instance, do again and cut off, and what stands. Nothing is written."""
        _check_point(before, at, children)
        _check_undo(undo)
        await self._definition_of(instance_id, "rewind")
        wanted = Rewind(instance_id=instance_id, before=before, at=at, undo=undo, children=children)
        return await plan_of_rewind(self._access.opened("plan_rewind"), self._registry_here("rewind"), wanted)

    def _registry_here(self, verb: str) -> Registry:
        registry = self._access.registry
        if registry is None:
            raise UsageError(f"a {verb} needs the code of the workflow, which this app does not have")
        return registry

    async def _definition_of(self, instance_id: str, verb: str) -> Workflow[..., Any]:
        row = await row_of(self._access.opened(), instance_id)
        name = row.workflow_name
        known: Workflow[..., Any] | None = self._registry_here(verb).workflows.get(name)
        if name.startswith("romancy."):
            raise UsageError(f"instance {instance_id!r} is of {name}, a workflow of the library: {verb} none of them")
        if known is None:
            raise UsageError(
                f"instance {instance_id!r} is of the workflow {name!r}, which this app does not know: {verb} it from "
                "one that does"
            )
        if known.beside:
            raise UsageError(f"instance {instance_id!r} is the entity {name!r}, whose calls are runs: {verb} none")
        return known


def _encoded(definition: Workflow[..., Any], input: Mapping[str, Any]) -> Raw:
    return definition.encode((), dict(input))


def _check_undo(undo: str) -> None:
    if undo not in get_args(RewindUndo):
        raise UsageError(f"undo={undo!r}: say 'refuse', 'keep' or 'compensate'")


def _check_point(before: str | None, at: int | None, children: str) -> None:
    if (before is None) == (at is None):
        raise UsageError('name one point: before="a step", or at=, the number of a commit in the log')
    if children not in get_args(ForkChildren):
        raise UsageError(f"children={children!r}: say 'keep' or 'again'")
