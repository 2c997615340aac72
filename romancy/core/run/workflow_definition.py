"""The definition of a workflow as its own runs see it. The authoring layer provides it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from romancy.core.words.definitions import CalledWorkflow

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from msgspec import Raw

    from romancy.core.run.commands import Commands

__all__ = ["WorkflowDefinition"]


class WorkflowDefinition(CalledWorkflow, Protocol):
    """A workflow, with its code."""

    def body(self, commands: Commands, input: Raw, /) -> Coroutine[Any, Any, object]: ...

    def write_result(self, result: object, /) -> Raw: ...
