"""The workflows of the library itself, which a worker knows beside those of its app."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from romancy.alerting.keeper import KEEPER as ALERTS
from romancy.schedules.keeper import KEEPER as SCHEDULES
from romancy.windows.asking import BUILT_IN as WINDOWS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from romancy.windows.asking import Asking
    from romancy.workflow import Workflow

__all__ = ["ALL", "known_here", "with_built_in"]

ALL: Final[tuple[Workflow[..., Any], ...]] = (ALERTS, SCHEDULES, *WINDOWS)


def with_built_in(workflows: Mapping[str, Workflow[..., Any]]) -> Mapping[str, Workflow[..., Any]]:
    """Workflows of an app and those of the library, to replay or to look at whatever is there."""
    return {**{one.name: one for one in ALL}, **workflows}


def known_here(schedules: Workflow[..., Any], windows: Asking) -> tuple[Workflow[..., Any], ...]:
    """What a worker keeps for its own workflows: their windows and, if it can read cron expressions, schedules."""
    return (*((schedules,) if find_spec("cronsim") is not None else ()), *windows.workflows)
