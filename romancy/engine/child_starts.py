"""The first appends of children, which an append of their parent carries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy._logs import about, get_logger
from romancy._named_workflows import WorkflowType
from romancy.engine.creation import start_of
from romancy.engine.family import parent_of
from romancy.engine.life_numbers import new_life

if TYPE_CHECKING:
    from romancy.core import StartChild
    from romancy.engine.incarnation import Incarnation
    from romancy.engine.instance import Live
    from romancy.registry import Registry
    from romancy.storage.records import Append
    from romancy.workflow import Workflow

__all__ = ["start_of_child"]

logger = get_logger("romancy.engine")


def start_of_child(registry: Registry, incarnation: Incarnation, live: Live, child: StartChild) -> Append:
    """The first append of a child. If this worker does not know its workflow, the child waits for one that does."""
    definition: Workflow[..., object] | None = registry.workflows.get(child.workflow)
    if definition is None:
        definition = WorkflowType(child.workflow)
        logger.info(
            "child %s waits for a worker that knows the workflow %s: this one does not",
            child.instance_id, child.workflow, extra=about(live),
        )  # fmt: skip
    return start_of(
        definition,
        child.input,
        instance_id=child.instance_id,
        life=new_life(child.instance_id),
        writer=incarnation.nonce(),
        now=incarnation.clock.now(),
        parent=parent_of(live.instance_id, live.life, child),
        given=child.given,
    )
