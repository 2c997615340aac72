"""Filters of instances as values: what they hold, what they refuse, and how errors name an argument."""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from romancy import QueryError, Status, UsageError
from romancy.query import InstanceFilter, gte, told_as
from romancy.storage.query import Position, build_query

MOMENT = datetime(2026, 3, 1, tzinfo=UTC)
AT = 1_772_323_200_000_000


def test_a_filter_is_checked_when_it_is_made_and_cannot_change() -> None:
    where, ids = {"amount": gte(5)}, ["b", "a"]
    chosen = InstanceFilter(where, status=iter(["failed", "stuck"]), ids=ids, top_level=True)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] - it is read once
    before = chosen.query()
    where["total"] = gte(6)
    ids.append("c")

    assert (before, ("a", "b"), (Status.FAILED, Status.STUCK)) == (chosen.query(), chosen.ids, chosen.status)
    assert ["amount"] == list(chosen.where)
    with pytest.raises(FrozenInstanceError):
        chosen.parent = "p"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue] - the mistake itself
    with pytest.raises(QueryError, match="ids: is empty"):
        InstanceFilter(ids=[""])


def test_a_filter_is_a_value() -> None:
    chosen = InstanceFilter({"a": 1}, status="failed", started_after=MOMENT, headers={"tenant": "acme"})

    assert chosen == InstanceFilter({"a": 1}, status=["failed"], started_after=MOMENT, headers={"tenant": "acme"})
    assert chosen == copy.deepcopy(chosen) == pickle.loads(pickle.dumps(chosen))  # noqa: S301 - written here
    assert chosen.query() == copy.deepcopy(chosen).query()
    assert Status.STUCK in replace(chosen, status="stuck").statuses
    assert (AT, Position(AT, "")) == (
        replace(chosen, started_before=MOMENT).query().since,
        replace(chosen, started_before=MOMENT).query().after,
    )


@pytest.mark.parametrize(
    "given",
    [
        {"where": {"a": 1}}, {"workflow_name": "a"}, {"status": list(Status)}, {"instance_id": "a"}, {"parent": "a"},
        {"top_level": True}, {"ids": []}, {"headers": {"a": "b"}}, {"started_after": MOMENT},
        {"started_before": MOMENT}, {"ended_after": MOMENT}, {"ended_before": MOMENT},
    ],
)  # fmt: skip
def test_each_part_restricts_and_is_given_once(given: dict[str, Any]) -> None:
    assert InstanceFilter().is_empty
    assert InstanceFilter({}, workflow_name="", instance_id="", headers={}, status=None).is_empty
    chosen = InstanceFilter(**given)
    assert not chosen.is_empty
    if "where" not in given:
        assert chosen == InstanceFilter.of(None, given) == InstanceFilter.of(InstanceFilter(), given)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] - each in turn
        with pytest.raises(QueryError, match=f"{next(iter(given))}: the InstanceFilter has it already; give it once"):
            InstanceFilter.of(chosen, given)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] - as above


def test_keywords_restrict_a_filter_further() -> None:
    chosen = InstanceFilter({"a": 1}, workflow_name="order")

    assert InstanceFilter.of(chosen, {}) is chosen
    further = InstanceFilter.of(chosen, {"status": "failed", "parent": None})
    assert InstanceFilter({"a": 1}, workflow_name="order", status="failed") == further
    assert further is InstanceFilter.of(further, {"status": None, "workflow_name": None, "top_level": False})
    assert () == InstanceFilter.of(chosen, {"ids": []}).ids


def test_an_unknown_keyword_is_refused_by_name() -> None:
    unknown: Any = {"stauts": "failed"}
    with pytest.raises(TypeError, match="unexpected keyword argument 'stauts'; the filters are ended_after, "):
        InstanceFilter.of(None, unknown)


def test_what_acts_takes_whole_names() -> None:
    assert "Order" == InstanceFilter(workflow_name="Order").query(to_act=True).named
    assert build_query(workflow_name="order") == InstanceFilter(workflow_name="Order").query()
    with pytest.raises(QueryError, match="workflow_name: is empty"):
        InstanceFilter(workflow_name="").query(to_act=True)
    for part in ("o-1", ""):
        with pytest.raises(QueryError, match=r"instance_id: is a part of an id; .* give ids"):
            InstanceFilter(instance_id=part).query(to_act=True)


def test_an_action_is_for_some_statuses() -> None:
    assert {Status.FAILED, Status.STUCK} == set(InstanceFilter().among({Status.FAILED, Status.STUCK}, "x").statuses)
    assert (Status.FAILED,) == InstanceFilter(status="failed").among({Status.FAILED, Status.STUCK}, "x").statuses
    with pytest.raises(UsageError, match="only these, not completed, failed ones; or others"):
        InstanceFilter(status=["failed", "completed"]).among({Status.STUCK}, "only these", "or others")


def test_a_place_and_bounds_are_combined() -> None:
    chosen = InstanceFilter(started_before=MOMENT)
    early, late = (chosen.query().token_after(AT + by, "i") for by in (-1, 1))

    assert Position(AT - 1, "i") == chosen.query(page_token=early).after
    assert Position(AT, "") == chosen.query(page_token=late).after
    forward = replace(chosen, started_after=MOMENT - timedelta(seconds=1))
    token = forward.query(oldest_first=True).token_after(AT - 5, "i")
    query = forward.query(oldest_first=True, page_token=token)
    assert (AT, Position(AT - 5, "i")) == (query.until, query.after)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ("ids: 1001 ids; give at most 1000", "--exact-id: 1001 ids; give at most 1000"),
        ("filter 'a: b', gte(): True has no order", "--where: filter 'a: b', gte(): True has no order"),
        ("path 'a..b', position 2: a name is missing", "--where: path 'a..b', position 2: a name is missing"),
        ("header 'baggage': not searched", "header 'baggage': not searched"),
        ("parent: is empty", "parent: is empty"),
    ],
)
def test_an_error_names_an_argument_as_its_reader_wrote_it(error: str, told: str) -> None:
    with pytest.raises(QueryError) as refused, told_as({"ids": "--exact-id", "where": "--where"}):
        raise QueryError(error)
    assert told == str(refused.value)
