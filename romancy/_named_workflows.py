"""Workflows by their names: those that an app knows, and those whose code only other apps have."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any, Final, TypeVar, overload

import msgspec
from msgspec import Raw

from romancy._sizes import fitting
from romancy.context import WorkflowContext  # noqa: TC001 - the decorated function is looked at
from romancy.errors import UsageError
from romancy.serialization import dumps, loads, plan_for
from romancy.storage.limits import check_id
from romancy.workflow import Workflow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from typing_extensions import TypeForm

__all__ = ["StoredCall", "WorkflowType", "chosen_workflows", "nearest_workflow", "workflow_named"]

R_co = TypeVar("R_co", covariant=True)

_CODE: Final = "by-name"
"""The code version of a start that was made without the workflow's code."""


async def _elsewhere(ctx: WorkflowContext) -> Any: ...


class WorkflowType(Workflow[..., R_co]):
    """A workflow whose code only other apps have: its name, and the type of its result (by default plain JSON values).

    It is started, and called as a child, as any other one is. Its arguments are given by name.
    """

    kind = "workflow type"

    @overload
    def __init__(self: WorkflowType[Any], name: str) -> None: ...
    @overload
    def __init__(self, name: str, result: TypeForm[R_co]) -> None: ...
    def __init__(self, name: str, result: Any = Any) -> None:
        check_id(name, "name of the workflow")
        if name != name.strip():
            raise UsageError(f"{name!r} is not the name of a workflow: it begins or ends with a blank")
        super().__init__(_elsewhere, name=name, version=_CODE)
        self.result = result

    def encode(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], stored: Callable[[bytes], int] | None = None, /
    ) -> Raw:
        """The stored form of an input: an object of the arguments by their names."""
        if args:
            raise UsageError(
                f"workflow {self.name!r} is known here by its name alone, and inputs are stored by the names of the "
                f"parameters: give each argument by name, as in `app.start(app.workflow({self.name!r}), order_id=…)`"
            )
        plan_for(self.result, self._of_result)  # a result that cannot be read is told before anything begins
        what, value = f"input of workflow {self.name}", kwargs
        return Raw(fitting(dumps(value, what, Any), what, stored))

    def read_result(self, result: Raw, /) -> object:
        return loads(result, self.result, self._of_result)

    @property
    def _of_result(self) -> str:
        return f"result of workflow {self.name}"

    def is_same_call(self, recorded: Raw | bytes, asked: Raw, /) -> bool:
        """Whether both inputs are equal as JSON. The workflow's default arguments are not known here."""
        if bytes(recorded) == bytes(asked):
            return True
        try:
            return bool(msgspec.json.decode(recorded) == msgspec.json.decode(asked))
        except msgspec.DecodeError:
            return False


class StoredCall(WorkflowType[Any]):
    """A workflow by its name, with its input as stored: what the library's own workflows start as their children."""

    def __init__(self, name: str, input: Raw) -> None:
        super().__init__(name)
        self._input = input

    def encode(self, *_: Any) -> Raw:
        return self._input


def workflow_named(known: Mapping[str, Workflow[..., Any]], name: str) -> Workflow[..., Any]:
    """The workflow of that name, with its code if this app knows it."""
    found = known.get(name)
    return WorkflowType(name) if found is None else found


def chosen_workflows(known: Mapping[str, Workflow[..., Any]], names: Iterable[str]) -> list[Workflow[..., Any]]:
    """The workflows of these names. Raises UsageError for a name that the app does not know, or if there is no name."""
    chosen = [names] if isinstance(names, str) else [*names]
    for name in chosen:
        if name not in known:
            raise UsageError(f"this app knows no workflow {name!r}; {nearest_workflow(name, known)}")
    if not chosen:
        raise UsageError("a worker was to take only the workflows of a list without names: name one, or leave it out")
    return [known[name] for name in dict.fromkeys(chosen)]


def nearest_workflow(name: str, known: Iterable[str]) -> str:
    """What may be meant by a name that is not known, and which names are."""
    names = sorted(known)
    near = difflib.get_close_matches(str(name), names, 1)
    meant = f"did you mean {near[0]!r}? " if near else ""
    return f"{meant}It knows {', '.join(names)}" if near else f"it knows {', '.join(names) or 'none'}"
