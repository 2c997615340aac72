"""Every workflow of the family, crashed after every commit: the same end, the same log, nothing done twice."""

from __future__ import annotations

import msgspec
import pytest

from romancy.status import Status
from romancy_conformance.workflows import FAMILY, Scenario
from tests.core.driver import World

family = pytest.mark.parametrize("scenario", FAMILY.values(), ids=FAMILY.keys())


@family
def test_ends_as_expected(scenario: Scenario) -> None:
    outcome = World(scenario).finish()
    assert outcome.status is scenario.status, outcome
    if outcome.status is Status.COMPLETED:
        assert outcome.result is not None
        assert msgspec.json.decode(outcome.result) == scenario.result
    elif scenario.error:
        assert outcome.error is not None
        assert scenario.error == outcome.error.type.rpartition(".")[2]


@family
def test_crash_after_every_commit(scenario: Scenario) -> None:
    whole = World(scenario)
    whole.finish()
    for commits in range(1, len(whole.commits) + 1):
        resumed = whole.cut(commits)
        resumed.finish()
        assert resumed.commits == whole.commits, f"cut after commit {commits}"
        rest = whole.executed[whole.executed_until[commits - 1] :]
        assert sorted(resumed.executed) == sorted(rest), f"cut after commit {commits}"


def test_the_family_is_large_enough() -> None:
    assert len(FAMILY) >= 60
