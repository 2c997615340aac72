"""Checks starts, and makes new instance ids."""

from __future__ import annotations

import inspect
from typing import Any, Final, Literal, TypeAlias, get_args

from romancy._logs import get_logger
from romancy.engine.surroundings import here
from romancy.errors import InstanceConflictError, UsageError
from romancy.workflow import Call, Workflow

__all__ = ["OURS", "IfExists", "check_call", "check_if_exists", "check_workflow", "new_id", "taken", "warn_of_unknown"]

logger = get_logger("romancy")

IfExists: TypeAlias = Literal["return", "refuse", "restart_ended", "restart_failed", "replace"]
"""What a start does if its id is taken."""

_CHOICES: Final = get_args(IfExists)
OURS: Final = ("session", "if_exists")
"""Options of `start` that are not passed to the workflow, unless it has a parameter of that name."""


def check_workflow(wf: Any) -> Workflow[..., Any]:
    if not isinstance(wf, Workflow):
        raise UsageError(
            f"a workflow is started, a function decorated with @workflow or its name, not {_not_a_workflow(wf)}"
        )
    return wf  # pyright: ignore[reportUnknownVariableType] - of any parameters


def _not_a_workflow(given: Any) -> str:
    what: str = type(given).__name__
    name, kind = getattr(given, "__name__", None), getattr(given, "kind", None)
    if kind in ("activity", "compensation"):
        return f"the {kind} {name}: a workflow calls it"
    if inspect.isfunction(given):
        return f"the plain function {name}: put @workflow above it"
    if inspect.iscoroutine(given):
        return "a coroutine: leave its call to Romancy, `start(wf, …)`"
    return f"a {what}"


def check_call(call: Any) -> None:
    if not isinstance(call, Call):
        raise UsageError(f"start_many takes workflows with their arguments, `wf.bind(…)`, not a {type(call).__name__}")


def check_if_exists(choice: Any) -> None:
    if choice not in _CHOICES:
        *others, last = map(repr, _CHOICES)
        raise UsageError(f"if_exists={choice!r}: say {', '.join(others)} or {last}")


def taken(instance_id: str) -> InstanceConflictError:
    """The error of a start with `if_exists="refuse"` whose id is taken."""
    return InstanceConflictError(
        f"instance {instance_id!r} exists already, and if_exists='refuse' was given; choose another id, or leave that "
        "out to get the one that is there",
        conflicts=[instance_id],
    )


def warn_of_unknown(name: str, said: set[str]) -> None:
    """Warn, once for each name, that this app's worker cannot run a workflow that was started here."""
    if name not in said:
        said.add(name)
        logger.warning(
            "workflow %s was started here and this app does not know it: it waits for a worker that does. "
            "If it is to run here, give it to the app in workflows=[…], and declare it before the app is opened",
            name,
            extra={"romancy_workflow": name},
        )


def new_id() -> str:
    """A new unique id. Ids sort by time, so that instances of the same time are neighbours in the database."""
    around = here()
    return f"{around.wall() // 1_000_000:012x}{around.octets(8).hex()}"
