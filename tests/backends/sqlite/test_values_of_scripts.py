"""Each script of SQLite gets its values in the form that it names: by name or in order.

Newer Pythons refuse values in order for a script with names. An older one binds them, so the fault is not seen there.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

import pytest

from romancy_conformance.contract.walking.walk import Ground, walk
from romancy_sqlite._connection import Tx

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy_sqlite._connection import Parameters

pytestmark = pytest.mark.anyio

_NAME = re.compile(r"(?<![:\w]):[a-z_]+")
_PLACE = re.compile(r"\?(?!')")


@pytest.fixture
def misfits(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The names of scripts that got their values in the other form."""
    found: set[str] = set()
    run, many, rows = Tx.run, Tx.many, Tx.rows

    def look(tx: Tx, name: str, parameters: Parameters) -> None:
        text = tx.text(name)
        if (_NAME if not isinstance(parameters, Mapping) else _PLACE).search(text):
            found.add(name)

    def looked_run(self: Tx, name: str, parameters: Parameters = ()) -> int:
        look(self, name, parameters)
        return run(self, name, parameters)

    def looked_many(self: Tx, name: str, all_parameters: Sequence[Parameters]) -> int:
        for parameters in all_parameters:
            look(self, name, parameters)
        return many(self, name, all_parameters)

    def looked_rows(self: Tx, name: str, parameters: Parameters = ()) -> list[tuple[object, ...]]:
        look(self, name, parameters)
        return rows(self, name, parameters)

    monkeypatch.setattr(Tx, "run", looked_run)
    monkeypatch.setattr(Tx, "many", looked_many)
    monkeypatch.setattr(Tx, "rows", looked_rows)
    return found


@pytest.mark.parametrize("seed", range(3))
async def test_each_script_gets_its_values_in_the_form_that_it_names(misfits: set[str], seed: int) -> None:
    async with Ground.at(f"memory://values-{seed}") as ground:
        await walk(ground, seed, 300, Counter())

    assert set() == misfits
