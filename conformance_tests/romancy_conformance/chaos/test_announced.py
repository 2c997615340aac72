"""The judge of what relays have sent: it accepts repetitions, and names what is lost, doubled, or out of order."""

from __future__ import annotations

import pytest

from romancy_conformance.chaos.announced import judge_arrivals
from romancy_conformance.chaos.oracle import Expected
from romancy_conformance.chaos.programs import Node, Program
from romancy_conformance.chaos.relaying import Arrival

PROGRAM = Program("p-1", (Node("seq"),))


@pytest.mark.parametrize(
    ("came", "found"),
    [
        ([("a", 1), ("b", 2), ("a", 1)], []),
        ([("a", 1)], ["lost"]),
        ([("a", 1), ("b", 2), ("c", 2)], ["doubled"]),
        ([("a", 1), ("b", 2), ("c", -1)], ["phantom"]),
        ([("b", 2), ("a", 1)], ["order"]),
        ([("a", 1), ("b", 2), ("a", 2)], ["wrong"]),
    ],
)
def test_findings(came: list[tuple[str, int]], found: list[str]) -> None:
    findings: list[tuple[str, str]] = []
    expected = {"p-1": Expected(PROGRAM, announced={"p-1/k1": [1, 2]})}

    judge_arrivals(
        expected,
        [Arrival(id, "p-1/k1", number) for id, number in came],
        lambda kind, instance, _: findings.append((kind, instance)),
    )

    assert [(kind, "p-1") for kind in found] == findings
