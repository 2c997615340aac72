"""Forks an instance: begins another one whose log is a copy of the first up to a point, and which goes on from there.

A copy that fits one commit is one append, and the source is only read. A longer one begins as a paused instance, which
no worker claims, and the append that ends the copy lets it go on. The same call continues a copy that was cut short.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from msgspec import Raw
from msgspec.structs import replace

from romancy._named_workflows import WorkflowType
from romancy._start_options import StartOptions, kept
from romancy.core import (
    ChildStarted,
    Input,
    LogEvent,
    OwnerChanged,
    Parent,
    WorkflowForked,
    WorkflowRetried,
    WorkflowStarted,
    encode_commit,
)
from romancy.engine.creation import create_of, start_of
from romancy.engine.interests import interests_of
from romancy.engine.life_numbers import new_life
from romancy.engine.outside.copies import COPYING, copy_of
from romancy.engine.outside.management import acting, row_of, written
from romancy.engine.replay import history, rows
from romancy.engine.surroundings import here
from romancy.errors import InstanceConflictError, StorageUnavailableError, UsageError
from romancy.going_back import ForkChildren
from romancy.status import Status
from romancy.storage.records import Append, Change, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from romancy.core import State
    from romancy.engine.outside.copies import Copy
    from romancy.engine.outside.management import ActsUnder
    from romancy.going_back import ForkPlan
    from romancy.registry import Registry
    from romancy.storage.protocol import Store
    from romancy.storage.routing import Interest

__all__ = ["Wanted", "children_again", "fork", "plan_of_fork"]

_ROOM: Final = 1024 * 1024
"""Bytes in one commit of a copy, unless one commit of the source has more."""
_TRIES: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The fork that a caller wants."""

    source: str
    instance_id: str
    life: int
    before: str | None
    at: int | None
    input: Raw | None
    children: ForkChildren


async def plan_of_fork(
    store: Store, registry: Registry, source: str, *, before: str | None, at: int | None, children: ForkChildren
) -> ForkPlan:
    """What a fork at this point keeps and leaves out. Raises UsageError if there is no such point."""
    copy = await _read(store, source, before, at)
    return copy.plan(copy.refusal(_state_of(copy, registry), children))


async def fork(store: Store, worker: ActsUnder, registry: Registry, wanted: Wanted) -> bool:
    """Begin the fork, which any worker that knows the workflow may claim. False if it was there already."""
    outcome = Outcome.EXISTS
    for _ in range(_TRIES):
        there = await _what_is_there(store, wanted)
        if there is not None and there.complete:
            _check_same(wanted, there)
            return False
        copy = await _read(store, wanted.source, wanted.before, wanted.at)
        state = _state_of(copy, registry)
        if (refused := copy.refusal(state, wanted.children)) is not None:
            raise UsageError(f"instance {wanted.source!r} cannot be forked at this point: {refused}")
        async with acting(store, worker) as (token, now):
            outcome = await _write(
                store, token, now, registry=registry, wanted=wanted, copy=copy, state=state, there=there
            )
        if outcome is Outcome.ACCEPTED:
            return True
    raise StorageUnavailableError(f"instance {wanted.instance_id!r} could not be forked ({outcome}); try again")


async def _read(store: Store, source: str, before: str | None, at: int | None) -> Copy:
    row = await row_of(store, source)
    commits = [one async for one in history(store, source, after=row.run_from - 1, life=row.life)]
    return copy_of(source, row.life, commits, before=before, at=at)


def _state_of(copy: Copy, registry: Registry) -> State:
    return copy.state(registry.activities_of(copy.started.workflow))


@dataclass(frozen=True, slots=True)
class _There:
    """What the database has under the id of the fork."""

    life: int
    signals: int
    writer: str
    commits: list[list[LogEvent]]
    input: Raw
    forked: WorkflowForked | None

    @property
    def complete(self) -> bool:
        return self.forked is not None


async def _what_is_there(store: Store, wanted: Wanted) -> _There | None:
    """None: the id is free. Raises InstanceConflictError if it is that of anything else than a fork of the source."""
    found = await store.read(wanted.instance_id, limit=0)
    if found is None:
        return None
    row = found.instance
    commits: list[list[LogEvent]] = []
    writer = ""
    async for one, commit in rows(store, wanted.instance_id, after=0, life=row.life):
        writer = one.writer
        commits.append(commit)
    first = next((one for one in commits[0] if isinstance(one, WorkflowStarted)), None) if commits else None
    forked = [
        one for commit in commits for one in commit
        if isinstance(one, WorkflowForked) and not (one.identity or one.back)
    ]  # fmt: skip
    if first is None or not first.identity or (not forked and row.status is not Status.PAUSED):
        raise _taken(wanted)
    return _There(row.life, row.signals, writer, commits, first.input, forked[-1] if forked else None)


def _taken(wanted: Wanted) -> InstanceConflictError:
    return InstanceConflictError(
        f"instance {wanted.instance_id!r} exists already, and is not this fork of {wanted.source!r}; choose another id",
        conflicts=[wanted.instance_id],
    )


def _check_same(wanted: Wanted, there: _There) -> None:
    forked = there.forked
    same = forked is not None and (forked.source, forked.step, forked.children) == (
        wanted.source, wanted.before or "", wanted.children,
    ) and (wanted.at is None or forked.seq == wanted.at)  # fmt: skip
    if not same or (wanted.input is not None and bytes(wanted.input) != bytes(there.input)):
        raise _taken(wanted)


async def _write(
    store: Store,
    token: str,
    now: int,
    *,
    registry: Registry,
    wanted: Wanted,
    copy: Copy,
    state: State,
    there: _There | None,
) -> Outcome:
    """Write what the database does not have yet of the copy."""
    life = wanted.life if there is None else there.life
    definition = registry.workflows[copy.started.workflow]
    made = copy.made(state, wanted.instance_id, f"{life:x}", at=now, input=wanted.input, children=wanted.children)
    bodies = _in_rows(made, COPYING)
    begun = [] if there is None else there.commits
    if begun != bodies[: len(begun)]:
        raise _taken(wanted)
    writer = "" if there is None else there.writer
    outcome = Outcome.ACCEPTED
    for number in range(len(begun) + 1, len(bodies) + 1):
        item = Append(
            instance_id=wanted.instance_id,
            life=life,
            seq=number,
            writer=f"{here().token()}.fork",
            body=encode_commit(bodies[number - 1]),
            after=writer if number > 1 else None,
        )
        if number == 1:
            started = replace(copy.started, nonce=f"{life:x}", parent=None, input=wanted.input or copy.started.input)
            item = replace(item, create=create_of(definition, started, given=definition.given), change=_UNFINISHED)
        if number == len(bodies):
            signals = 0 if there is None else there.signals
            change = Change(status=Status.RUNNING, seen=signals, release=True, wake_at=1)
            item = replace(item, change=change, interests=_interests(state))
            if wanted.children == "again":
                item = replace(
                    item,
                    starts=tuple(children_again(registry, wanted.instance_id, life, f"{life:x}", state, made, now)),
                )
        outcome = await written(store, item, token)
        if outcome is not Outcome.ACCEPTED:
            return outcome
        writer = item.writer
    return outcome


_UNFINISHED: Final = Change(status=Status.PAUSED, seen=0, release=True, error=COPYING)


def _in_rows(made: list[list[LogEvent]], reason: str) -> list[list[LogEvent]]:
    """The commits of a copy, as few as there can be. A retry begins with a commit of its own."""
    bodies: list[list[LogEvent]] = []
    room = 0
    for commit in made:
        size = len(encode_commit(commit))
        if size > room or any(isinstance(event, WorkflowRetried) for event in commit):
            bodies.append([])
            room = _ROOM
        bodies[-1] += commit
        room -= size
    if len(bodies) > 1:
        at = max(one.at for one in bodies[0] if isinstance(one, Input))
        bodies[0].append(OwnerChanged(at=at, pause="begins", reason=reason))
    return bodies


def children_again(  # noqa: PLR0917
    registry: Registry, instance_id: str, life: int, nonce: str, state: State, made: list[list[LogEvent]], now: int
) -> Iterator[Append]:
    """The first appends of children that a fork or a rewind starts anew."""
    for commit in made:
        for event in commit:
            if isinstance(event, ChildStarted) and event.id in state.children:
                yield start_of(
                    registry.workflows.get(event.workflow) or WorkflowType(event.workflow),
                    event.input,
                    instance_id=event.instance_id,
                    life=new_life(event.instance_id),
                    writer=f"{here().token()}.fork",
                    now=now,
                    parent=Parent(instance_id, event.id, life, nonce),
                    given=StartOptions(delay=event.delay, at=event.due, **kept(event)),
                )


def _interests(state: State) -> tuple[Interest, ...]:
    """What the fork waits for, as the database has to know it. Places under limits it asks for itself."""
    state.held = {}
    found = interests_of(state)
    return () if found is None else tuple(found.registered.values())
