"""What is started: the checks of it, and ids that nobody has."""

from __future__ import annotations

import secrets
import time
from typing import Any

from romancy.errors import UsageError
from romancy.workflow import Call, Workflow

__all__ = ["check_call", "check_workflow", "new_id"]


def check_workflow(wf: Any) -> None:
    if not isinstance(wf, Workflow):
        raise UsageError(f"a workflow is started, a function decorated with @workflow, not a {type(wf).__name__}")


def check_call(call: Any) -> None:
    if not isinstance(call, Call):
        raise UsageError(f"start_many takes workflows with their arguments, `wf.bind(…)`, not a {type(call).__name__}")


def new_id() -> str:
    """An id that nobody has. They sort by time: in the database what is at work together lies together."""
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(8)}"
