"""Workflows that continue as new beside others in one batch: one statement changes them all, each in its own way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from romancy.status import Status
from romancy.storage.query import build_query
from romancy.storage.records import Outcome
from romancy_conformance.contract.building import append, change, start

if TYPE_CHECKING:
    from romancy_conformance.contract.building import Actor
    from romancy_mysql._store import MySQLStore

pytestmark = [pytest.mark.anyio, pytest.mark.backends("mysql", "mariadb")]


async def test_only_an_instance_that_begins_a_new_run_gets_a_new_input_and_index(
    store: MySQLStore, actor: Actor
) -> None:
    name = next(iter(actor.workflows))
    old, new = ("a", "s:old"), ("a", "s:new")
    begun = [
        start(workflow_name=name, owner=actor.token, status=Status.RUNNING, input=b'{"a":"old"}',
              projection=b'{"a":"s:old"}', index=(old,))
        for _ in range(4)
    ]  # fmt: skip
    assert set(await store.commit(begun)) == {Outcome.ACCEPTED}
    changes = [
        change(),
        change(run_from=2, input=b'{"a":"new"}', projection=b'{"a":"s:new"}', index=(new,)),
        change(run_from=2, projection=None, index=()),
        change(),
    ]

    items = [append(one, 2, change=this) for one, this in zip(begun, changes, strict=True)]
    assert await store.commit(items, worker=actor.token) == [Outcome.ACCEPTED] * 4

    ids = [one.instance_id for one in begun]
    for value, expected in {"old": [ids[0], ids[3]], "new": [ids[1]]}.items():
        page = await store.services.reading.find(build_query({"a": value}, workflow_name=name))
        assert sorted(row.instance_id for row in page.rows) == sorted(expected)
    histories = [await store.read(one) for one in ids]
    rows = [history.instance for history in histories if history is not None]
    assert [row.run_from for row in rows] == [1, 2, 2, 1]
    assert [row.input for row in rows] == [b'{"a":"old"}', b'{"a":"new"}', b'{"a":"old"}', b'{"a":"old"}']
