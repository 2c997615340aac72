"""The faults that are planted for the simulation: each still has its place in the code."""

from __future__ import annotations

import pytest

from romancy_conformance.chaos.shapes.catalogue import SHAPES
from romancy_conformance.simulation.named.catalogue import CASES
from tools.planting import PLANTED, Planted
from tools.planting.__main__ import job_of


@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.name)
def test_its_text_is_there_once(planted: Planted) -> None:
    (changed,) = job_of(planted).changed.values()

    if planted.file.endswith(".py"):
        compile(changed, planted.file, "exec")
    assert planted.case in {"", *CASES}
    assert {*filter(None, planted.shapes.split(","))} <= SHAPES.keys()


def test_a_fault_without_a_place_is_named() -> None:
    lost = Planted(name="lost", file="romancy/app.py", text="nobody writes this", replacement="")

    with pytest.raises(LookupError, match=r"lost: its text occurs 0 times in romancy/app\.py"):
        job_of(lost)
