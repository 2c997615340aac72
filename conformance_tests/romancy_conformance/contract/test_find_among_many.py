"""Searches for more values, names or sets of paths than a statement has a branch for. Each match comes once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from romancy.status import Status
from romancy.storage.query import build_query, gt, one_of, project_with_index
from romancy.storage.records import Outcome
from romancy_conformance.contract.building import created, start, unique

if TYPE_CHECKING:
    from romancy.storage.protocol import Store
    from romancy.storage.query import Query
    from romancy.storage.records import Append

pytestmark = pytest.mark.anyio

MANY = 70
"""More than any adapter has branches for."""


def _instance(flow: str, number: int, declared: tuple[str, ...]) -> Append:
    """Each third has failed. Two declared values are the same, and the third is another for each second instance."""
    document = f'{{"v":"v-{number}","w":"v-{number}","odd":{number % 2}}}'.encode()
    projection, index = project_with_index(document, declared)
    status = Status.PENDING if number % 3 else Status.FAILED
    return start(workflow_name=f"{flow}-{number}", projection=projection, index=index, status=status, delay=10**12)


async def _filled(store: Store, flow: str) -> list[Append]:
    """Half of them have declared the path `v`, the others each a path of its own. All have workflows of their own."""
    items = [_instance(flow, number, ("v", "w")) for number in range(MANY)]
    items += [_instance(flow, number, (f"p-{number}",)) for number in range(MANY)]
    assert {Outcome.ACCEPTED} == set(await store.commit(items))
    return items


async def _found(store: Store, query: Query) -> list[str]:
    page = await store.services.reading.find(query)
    assert page.next_token is None
    return sorted(row.instance_id for row in page.rows)


def _ids(items: list[Append], *, failed: bool = False, odd: bool = False) -> list[str]:
    chosen = [
        item.instance_id
        for item in items
        if (not failed or (item.change is not None and item.change.status is Status.FAILED))
        and (not odd or int(created(item).workflow_name.rpartition("-")[2]) % 2)
    ]
    return sorted(chosen)


async def test_each_of_many_values_is_found_once(store: Store) -> None:
    """Whether its path was declared or not, and although another declared path has the same value."""
    flow = unique("flow")
    items = await _filled(store, flow)
    await _filled(store, unique("other"))
    values = one_of(*(f"v-{number}" for number in range(1, MANY)))
    some = [item for item in items if not created(item).workflow_name.endswith("-0")]

    several = build_query({"v": values}, workflow_name=flow, limit=1000)
    failed = build_query({"v": values}, workflow_name=flow, status=Status.FAILED, limit=1000)
    one = build_query({"v": "v-3"}, workflow_name=flow, status=Status.FAILED, limit=1000)

    assert _ids(some) == await _found(store, several)
    assert _ids(some, failed=True) == await _found(store, failed)
    assert sorted(item.instance_id for item in items if created(item).workflow_name == f"{flow}-3") == await _found(
        store, one
    )
    counted = await store.services.reading.count(failed)
    assert {2} == set(counted.values())
    assert len(_ids(some, failed=True)) == sum(counted.values())


async def test_instances_of_many_workflows_are_found_by_a_part_of_their_names(store: Store) -> None:
    flow = unique("flow")
    items = await _filled(store, flow)
    await _filled(store, unique("other"))
    query = build_query({"odd": gt(0)}, workflow_name=flow, limit=1000)

    assert _ids(items) == await _found(store, build_query(workflow_name=flow, limit=1000))
    assert _ids(items, odd=True) == await _found(store, query)
    expected = {
        (f"{flow}-{number}", Status.PENDING if number % 3 else Status.FAILED): 2 for number in range(1, MANY, 2)
    }
    assert expected == await store.services.reading.count(query)
