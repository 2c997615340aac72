"""The workflow and the input that a command names. Raises click.UsageError, which says what would fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import msgspec
from msgspec import Raw

from romancy._named_workflows import nearest_workflow
from romancy.errors import SerializationError
from romancy.serialization import WRITTEN_BEFORE
from romancy.windows.declared import read_item

if TYPE_CHECKING:
    from collections.abc import Mapping

    from romancy.workflow import Workflow

__all__ = ["arguments_of", "item_of", "workflow_of"]


def workflow_of(target: str, known: Mapping[str, Workflow[..., Any]], name: str) -> Workflow[..., Any]:
    """The workflow of that name, of those that the app of a command knows."""
    found = known.get(name)
    if found is None:
        raise click.UsageError(f"{target} knows no workflow {name!r}; {nearest_workflow(name, known)}")
    return found


def item_of(workflow: Workflow[..., Any], data: str | None) -> Any:
    """One item of a batch."""
    if data is None:
        raise click.UsageError("no item was given: give it as JSON; a text needs its quotes: '\"text\"'")
    try:
        return read_item(workflow, Raw(msgspec.json.format(data.encode(), indent=-1)))
    except (SerializationError, msgspec.DecodeError) as error:
        problem = str(error).removesuffix(f"; {WRITTEN_BEFORE}")
        raise click.UsageError(
            f"the item does not fit workflow {workflow.name}: {problem}. A text needs its quotes: '\"text\"'"
        ) from None


def arguments_of(workflow: Workflow[..., Any], data: str | None) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if data is None and not workflow.signature.names:
        return (), {}
    try:
        given = Raw(b"{}" if data is None else msgspec.json.format(data.encode(), indent=-1))
        return workflow.signature.read_given(given)
    except (SerializationError, msgspec.DecodeError) as error:
        takes = ", ".join(workflow.signature.names) or "nothing"
        problem = "no input was given" if data is None else str(error).removesuffix(f"; {WRITTEN_BEFORE}")
        raise click.UsageError(
            f"the input does not fit workflow {workflow.name}, which takes {takes}: {problem}. {_wanted(workflow)}"
        ) from None


def _wanted(workflow: Workflow[..., Any]) -> str:
    match workflow.signature.names:
        case ():
            return "Leave the input out"
        case names:
            example = f"'{{\"{names[0]}\": …}}'"
            alone = "" if workflow.signature.bare is None else f", or the JSON of {workflow.signature.bare} alone"
            return f"Give an object with their names, as in {example}{alone}; a text needs its quotes: '\"text\"'"
