"""What `Retention` accepts, and what its periods are."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from romancy import (
    RegistrationError,
    Retention,
    Romancy,
    Status,
    UsageError,
    Workflow,
    WorkflowContext,
    entity,
    workflow,
)
from romancy.entity_calls import entity_of
from romancy.retaining.keeping import Rule, mark_of, rules_of
from romancy.testing import TestApp

DAY = 86_400_000_000


async def nothing(ctx: WorkflowContext) -> None: ...


@workflow
async def kept_for_years(ctx: WorkflowContext) -> int:
    return 1


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
    assert mark_of(rules, None) != mark_of(rules[1:], None)
    assert mark_of(rules_of(None, {"any": known["any"]}), None) == ""
    of_streams = (1, ["any"]), (2, ["any"]), (1, ["any", "other"])
    assert len({mark_of(rules, None), *(mark_of(rules, one) for one in of_streams)}) == 4
    assert mark_of([], (1, ["any"]))


def test_by_default_an_entity_that_did_not_complete_keeps_its_state() -> None:
    keeps: Workflow[..., None] = Workflow(nothing, name="kept")
    keeps.keeps_state = True

    assert rules_of("default", {"kept": keeps}) == [Rule("kept", (Status.COMPLETED,), 30 * DAY, by_default=True)]
    assert rules_of(Retention(failed="1d"), {"kept": keeps}) == [Rule("kept", (Status.FAILED,), DAY)]


def test_what_an_entity_declares_keeps_its_state() -> None:
    @entity("till")
    @dataclass
    class Till:
        coins: int = 0

        async def put(self, coins: int) -> None:
            self.coins += coins

    assert entity_of(Till).workflow.keeps_state
    assert not Workflow(nothing, name="any").keeps_state


@pytest.mark.anyio
async def test_a_test_app_keeps_all_for_years() -> None:
    async with TestApp([kept_for_years]) as app:
        one = await app.start(kept_for_years)
        assert await one.result() == 1
        await app.advance(3 * 366 * 86_400)
        assert await one.status() is Status.COMPLETED
