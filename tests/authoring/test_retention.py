"""What `Retention` accepts, and what its periods are."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from romancy import RegistrationError, Retention, Romancy, Status, UsageError, Workflow, WorkflowContext
from romancy.retaining.keeping import Rule, mark_of, rules_of

DAY = 86_400_000_000


async def nothing(ctx: WorkflowContext) -> None: ...


def test_a_period_is_a_text_a_timedelta_or_seconds() -> None:
    said = Retention(completed="30d", failed=timedelta(days=90), cancelled=1.5)

    assert [30 * DAY, 90 * DAY, 1_500_000] == [
        said.kept_for(status) for status in (Status.COMPLETED, Status.FAILED, Status.CANCELLED)
    ]
    assert Retention().kept_for(Status.FAILED) is None


@pytest.mark.parametrize("wrong", ["soon", "30", "-1d", "", -1, True, [], float("nan"), "9" * 30 + "d"])
def test_anything_else_is_refused(wrong: Any) -> None:
    with pytest.raises(UsageError, match="failed"):
        Retention(failed=wrong)


@pytest.mark.parametrize("wrong", ["", 7])
def test_an_archive_has_a_name(wrong: Any) -> None:
    with pytest.raises(UsageError, match="archive= takes the path of a folder"):
        Retention(archive=wrong)


def test_an_app_and_a_workflow_refuse_other_values() -> None:
    wrong: Any = "30d"
    with pytest.raises(UsageError, match=r"retention= takes Retention\(…\)"):
        Romancy("memory://", retention=wrong)
    with pytest.raises(RegistrationError, match=r"retention= takes Retention\(…\)"):
        Workflow(nothing, retention=wrong)


def test_a_workflow_says_it_in_the_place_of_the_app() -> None:
    known: dict[str, Workflow[..., Any]] = {
        "own": Workflow(nothing, name="own", retention=Retention(failed="1d")),
        "any": Workflow(nothing, name="any"),
    }
    rules = rules_of(Retention(completed="2d", cancelled="2d"), known)

    assert rules == [
        Rule("any", (Status.CANCELLED, Status.COMPLETED), 2 * DAY),
        Rule("own", (Status.FAILED,), DAY),
    ]
    assert rules_of(None, known) == rules[1:]
    assert rules_of("default", known) == [
        Rule("any", (Status.COMPLETED,), 30 * DAY, by_default=True),
        Rule("any", (Status.CANCELLED, Status.FAILED), 90 * DAY, by_default=True),
        *rules[1:],
    ]
    assert mark_of(rules) != mark_of(rules[1:])
    assert mark_of(rules_of(None, {"any": known["any"]})) == ""
