"""What a visitor may do, as `auth=` says it."""

from __future__ import annotations

from typing import Any

import pytest

from romancy import dashboard, http
from romancy.errors import UsageError
from romancy.web.visitor import Visitor


@pytest.mark.parametrize(
    ("actions", "may"),
    [
        (True, {"cancel", "start"}),
        (False, set[str]()),
        ((), set[str]()),
        ({"cancel"}, {"cancel"}),
        (["cancel", "start", "cancel"], {"cancel", "start"}),
    ],
)
def test_what_they_may_do(actions: Any, may: set[str]) -> None:
    visitor = Visitor("ann", actions=actions)

    assert may == {action for action in ("cancel", "start") if visitor.may(action)}


def test_without_a_word_they_may_do_everything() -> None:
    assert Visitor("ann").may("purge")


def test_it_does_not_change_with_what_it_was_made_of() -> None:
    given = {"cancel"}
    visitor = Visitor("ann", actions=given)  # type: ignore[arg-type]
    given.add("purge")

    assert not visitor.may("purge")


@pytest.mark.parametrize("wrong", ["cancel", b"cancel", ["delete"], ["cancel", "all"], None, 5, ["cancel", 5]], ids=str)
def test_what_is_no_action_is_refused_by_name(wrong: Any) -> None:
    with pytest.raises(UsageError, match=r"a set of answer, cancel, failures, .*, terminate, unpause"):
        Visitor("ann", actions=wrong)


def test_one_hook_serves_both() -> None:
    assert dashboard.Visitor is http.Visitor is Visitor
