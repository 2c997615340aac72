"""Workers killed at their writes while a workflow fails, is retried and fails in a child: each effect stands once."""

from __future__ import annotations

import os
from collections import defaultdict
from itertools import count
from typing import TYPE_CHECKING

import msgspec
import pytest

from romancy import Romancy, Status
from romancy_conformance.behaviour.crashes.forking import Workshop
from romancy_conformance.behaviour.crashes.retried import Sale, effects, packs, sells
from romancy_conformance.process_control import forks

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.anyio, forks]

MODULE = "romancy_conformance.behaviour.crashes.retried"
KILLED = -9
SOAK = bool(os.environ.get("ROMANCY_SOAK"))
STEP = 1 if SOAK else 4
LEAST = 12
"""Commits of a sale that fails twice."""


async def judge(app: Romancy, instance_id: str, ledger: Path) -> list[str]:
    """Return what is wrong with a sale that has ended."""
    done: dict[str, set[str]] = defaultdict(set)
    for name, key in effects(ledger):
        done[name].add(key)
    wrong = [
        f"{name} has the keys {keys}"
        for name, keys in done.items()
        if name not in {"charge", "refund"} and len(keys) > 1
    ]
    if len(done["charge"] - done["refund"]) != 1 or not done["refund"] <= done["charge"]:
        wrong.append(f"charged {done['charge']} and gave back {done['refund']}")
    mine = [row async for row in app.iter_instances() if row.instance_id.startswith(instance_id)]
    if len(mine) != 2 or {row.status for row in mine} != {Status.COMPLETED}:
        wrong.append(f"it left {[(row.instance_id, row.status, row.error) for row in mine]}")
    return wrong


@pytest.mark.timeout(1800 if SOAK else 300)
@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_sale_that_is_retried_and_killed_at_its_commits(shared_url: str, tmp_path: Path, moment: str) -> None:
    wrong: list[str] = []
    kills = 0
    with Workshop(MODULE) as workshop:
        async with Romancy(shared_url, worker=False, workflows=[sells, packs]) as app:
            for number in count(1, STEP):
                sale = Sale(
                    url=shared_url,
                    instance_id=f"sale-{number:03}",
                    ledger=str(tmp_path / f"ledger-{number}"),
                    fail=f"commit:{moment}:{number}",
                )
                status = await workshop.run(sale)
                kills += status == KILLED
                last = status if status != KILLED else await workshop.run(msgspec.structs.replace(sale, fail=""))
                found = await judge(app, sale.instance_id, tmp_path / f"ledger-{number}")
                wrong += [f"{sale.fail}: {what}" for what in ([f"it ended with {last}"] if last else []) + found]
                if status != KILLED:
                    break

    assert [] == wrong
    assert kills * STEP >= LEAST
