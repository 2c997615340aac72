"""How an instance begins: its first input, its row, and its first append."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Raw, Struct

from romancy.core import RULES, OwnerChanged, WorkflowStarted, encode_commit
from romancy.engine.incarnation import RUNTIME
from romancy.status import Status
from romancy.storage.query import project_with_index
from romancy.storage.records import Append, Change, Create
from romancy.storage.turns import PLAIN, line_of
from romancy.workflow import Workflow

if TYPE_CHECKING:
    from romancy._start_options import StartOptions
    from romancy.core import Parent

__all__ = ["Creation", "create_of", "first_input", "start_of"]

_PAUSED: Final = Change(status=Status.PAUSED, seen=0, release=True)


def first_input(
    definition: Workflow[..., object],
    input: Raw,
    *,
    life: int,
    now: int,
    parent: Parent | None = None,
    given: StartOptions,
) -> WorkflowStarted:
    """The first input of a new instance, with what the start was `given`."""
    return WorkflowStarted(
        at=now,
        workflow=definition.name,
        input=input,
        nonce=f"{life:x}",
        code=definition.code,
        parent=parent,
        headers=given.headers,
        runtime=RUNTIME,
        rules=RULES,
        limit=given.limit,
        priority=given.priority,
        fair_key=given.fair_key,
        weight=given.weight,
        due=(now + given.delay if given.delay else 0) if given.at is None else given.at,
    )


def create_of(
    definition: Workflow[..., object], started: WorkflowStarted, *, owner: str | None = None, given: StartOptions
) -> Create:
    """The instance that a first append creates. Without an `owner`, any worker that knows the workflow may claim it."""
    raw = bytes(started.input)
    projection, index = project_with_index(raw, definition.index, definition.signature.bare, started.headers)
    return Create(
        workflow_name=started.workflow,
        code=started.code,
        input=raw,
        projection=projection,
        index=index,
        owner=owner,
        delay=given.delay,
        at=given.at,
        priority=started.priority,
        fair_line=_fair_line(started) if started.fair_key and not given.delay and given.at is None else PLAIN,
        parent=None if started.parent is None else started.parent.instance_id,
    )


def _fair_line(started: WorkflowStarted) -> str:
    """The line in which it waits for a worker, if it is due at once: the nonce is a random number."""
    return line_of(started.fair_key, started.weight, int(started.nonce, 16))


class Creation(Struct, frozen=True, gc=False):
    """What the first append of a driven start creates."""

    definition: Workflow[..., object]
    started: WorkflowStarted
    owner: str

    def create(self, *, keeps: bool) -> Create:
        """The instance. It belongs to its worker, if that `keeps` it."""
        return create_of(
            self.definition, self.started, owner=self.owner if keeps else None, given=self.definition.given
        )


def start_of(
    definition: Workflow[..., object],
    input: Raw,
    *,
    instance_id: str,
    life: int,
    writer: str,
    now: int,
    parent: Parent | None = None,
    given: StartOptions | None = None,
) -> Append:
    """The first append of an instance whose code was not run. Any worker that knows the workflow may claim it.

    A `paused` one is claimed once it is unpaused.
    Without `given`, the start has the options of the definition.
    """
    given = definition.given if given is None else given
    started = first_input(definition, input, life=life, now=now, parent=parent, given=given)
    return Append(
        instance_id=instance_id,
        life=life,
        seq=1,
        writer=writer,
        body=encode_commit(
            [started, OwnerChanged(at=now, pause="begins", due=started.due)] if given.paused else [started]
        ),
        change=_PAUSED if given.paused else None,
        create=create_of(definition, started, given=given),
    )
