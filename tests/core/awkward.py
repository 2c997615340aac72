"""Workflows whose replay hangs on what a process happens to have: its imports, its garbage, its addresses.

They use what the core alone offers, and nothing of pytest: every Python plays them, and takes them up from another.
"""

from __future__ import annotations

from typing import Any

from romancy.activity import activity
from romancy.context import WorkflowContext
from romancy.errors import ActivityError, TerminalError
from romancy.workflow import workflow
from romancy_conformance.workflows import Scenario


@activity
async def keep(text: str) -> str:
    return text


# ── what is imported where it is used ───────────────────────────────────────────────────────────────────────────


@activity(name="charge a card")
async def charge_a_card(how: str) -> None:
    from tests.core.lazily_imported import CardRefusedError  # noqa: PLC0415 - what is tested

    class OnlyHereError(CardRefusedError):
        """No other process finds it: it is there while the function runs."""

    class NowhereElseError(TerminalError):
        """The same."""

        def __str__(self) -> str:
            return "a text of its own"

    if how == "a group":
        raise ExceptionGroup(how, [CardRefusedError(1), NowhereElseError(2)])
    if how == "a cause":
        raise ValueError(how) from CardRefusedError(1)
    raise {
        "plain": CardRefusedError(51),
        "nested": CardRefusedError.ForGoodError("never"),
        "derived": OnlyHereError(52),
        "local": NowhereElseError("local"),
    }[how]


def shape(error: Any) -> Any:
    """What a workflow can see of an exception."""
    members = [shape(member) for member in getattr(error, "exceptions", ())]
    code = getattr(error, "code", None)
    return error and [type(error).__qualname__, str(error), code, shape(error.__cause__), members]


async def told(how: str) -> Any:
    try:
        await charge_a_card(how)
    except (TerminalError, ActivityError) as error:
        return shape(error)


@workflow
async def catches_what_was_imported_late(ctx: WorkflowContext) -> list[str]:
    kinds = ("plain", "nested", "derived", "local", "a group", "a cause")
    return [await keep(str(await told(how))) for how in kinds]


REFUSED = "['CardRefusedError', 'refused with code 1', 1, None, []]"
EXHAUSTED = "['RetryExhaustedError', 'activity charge a card:{} failed after 5 attempt(s): {}', None, {}, []]"
CAUGHT = [
    "['CardRefusedError', 'refused with code 51', 51, None, []]",
    "['CardRefusedError.ForGoodError', 'never', None, None, []]",
    "['CardRefusedError', 'refused with code 52', 52, None, []]",
    "['TerminalError', 'local', None, None, []]",
    EXHAUSTED.format(
        5,
        "ExceptionGroup: a group",
        "['ExceptionGroup', 'a group (2 sub-exceptions)', None, None, "
        f"[{REFUSED}, ['TerminalError', '2', None, None, []]]]",
    ),
    EXHAUSTED.format(6, "ValueError: a cause", f"['ValueError', 'a cause', None, {REFUSED}, []]"),
]

AWKWARD: dict[str, Scenario] = {
    scenario.name: scenario for scenario in (Scenario(catches_what_was_imported_late, result=CAUGHT),)
}
