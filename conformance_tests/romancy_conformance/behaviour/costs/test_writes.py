"""What work writes into the database: rows of each table and entries of each index, each number exact.

A column that an update now names, an index on a hot table or one more row for a step is paid for by every user at every
step. It is noticed here. `writing` says how the databases count, and why their numbers differ.

Nothing here is written by the clock: a lease is an hour, the rows of workers do not count, and the sweep of addresses,
which marks rows of a certain age, is off. A scenario ends when its instance has no owner and the app is closed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from unittest import mock

import pytest

from romancy.engine.dispatcher import Dispatcher
from romancy.storage.backends import create_store
from romancy_conformance.behaviour.costs.scenarios import SCENARIOS, SQLITE, Scene, differences, read, shown
from romancy_conformance.behaviour.costs.writing import Place, writes_of
from romancy_conformance.contract.scripts import run_script

if TYPE_CHECKING:
    from collections.abc import Mapping

    Numbers = Mapping[str, Mapping[Place, int]]

pytestmark = [pytest.mark.anyio, pytest.mark.backends("sqlite", "postgres", "mysql", "mariadb")]

POSTGRES: Final = """
                                              workflow      wait     timer    signal     event
    romancy_addresses                                .         .         .         .         1
      romancy_addresses_pkey                         .         .         .         .         1
    romancy_inbox                                    .         .         .         2         3
      romancy_inbox_number                           .         .         .         1         2
      romancy_inbox_pkey                             .         .         .         1         2
      romancy_inbox_uncounted                        .         .         .         .         1
    romancy_instances                                2         1         1         3         3
      romancy_instances_due                          .         .         1         1         1
      romancy_instances_ended                        1         .         .         .         .
      romancy_instances_mail                         .         .         .         2         2
      romancy_instances_name                         2         1         1         3         3
      romancy_instances_new                          2         1         1         3         3
      romancy_instances_owner                        1         .         .         1         1
      romancy_instances_paths                        2         1         1         3         3
      romancy_instances_pkey                         2         1         1         3         3
      romancy_instances_status                       2         1         1         3         3
    romancy_interests                                .         1         .         .         .
      romancy_interests_at                           .         1         .         .         .
      romancy_interests_pkey                         .         1         .         .         .
      romancy_interests_place                        .         1         .         .         .
    romancy_log                                      6         1         1         1         1
      romancy_log_pkey                               6         1         1         1         1
    romancy_messages                                 .         .         .         .         2
      romancy_messages_at                            .         .         .         .         1
      romancy_messages_pkey                          .         .         .         .         1
      romancy_messages_place                         .         .         .         .         1
"""
MYSQL: Final = """
                                              workflow      wait     timer    signal     event
    romancy_addresses                                .         .         .         .         1
    romancy_inbox                                    .         .         .         2         3
      by_interest                                    .         .         .         2         2
      by_number                                      .         .         .         2         4
    romancy_instances                                2         1         1         3         3
      by_age                                         1         1         1         .         .
      by_name                                        1         1         1         .         .
      by_parent                                      1         1         1         .         .
      by_paths                                       1         1         1         .         .
      by_status                                      3         1         1         .         .
      claim                                          1         1         1         4         4
      mail                                           1         1         1         4         4
      owned                                          3         1         1         4         4
      runs                                           1         1         1         .         .
      touched                                        3         1         1         4         4
    romancy_interests                                .         1         .         .         .
      by_address                                     .         1         .         .         .
      by_sweep                                       .         1         .         .         .
    romancy_log                                      6         1         1         1         1
    romancy_messages                                 .         .         .         .         2
      by_age                                         .         .         .         .         2
      by_id                                          .         .         .         .         2
      by_sweep                                       .         .         .         .         2
    romancy_uncounted                                .         .         .         .         2
"""
WRITTEN: Final = {"sqlite": SQLITE, "postgres": POSTGRES, "mysql": MYSQL, "mariadb": MYSQL}
"""Tables, and under each its indexes. After a change on purpose, the message of the failed test has the new ones."""


# --- the scenarios ------------------------------------------------------------------------------------------------


async def written_at(url: str) -> Numbers:
    """Return what each scenario writes into this database."""
    writes = writes_of(url)
    await writes.begin()
    store = create_store(url)
    await store.open()
    found: dict[str, Mapping[Place, int]] = {}
    with mock.patch.object(Dispatcher, "sweep"):
        scene = Scene(url, store)
        await scene.prepare()
        await writes.counted()
        for name, play in SCENARIOS.items():
            async with scene.opened() as app:
                await play(scene, app)
            found[name] = await writes.counted()
    await store.close()
    return found


# --- tables of numbers --------------------------------------------------------------------------------------------


# --- tests --------------------------------------------------------------------------------------------------------


async def test_work_writes_these_rows_and_index_entries(storage_url: str, backend: str) -> None:
    found = await written_at(storage_url)

    lines = differences(read(WRITTEN[backend]), found)
    assert not lines, "\n".join([*lines, "", "Everything that was written:", shown(found)])


PLANTED: Final = {
    "planted_log": "create index planted_log on romancy_log (writer)",
    "planted_instances": "create index planted_instances on romancy_instances (status)",
    "planted_inbox": "create index planted_inbox on romancy_inbox (delivery_id)",
}


async def test_an_index_more_on_a_hot_table_is_noticed(storage_url: str, backend: str) -> None:
    await run_script(storage_url, ";\n".join(PLANTED.values()))

    found = await written_at(storage_url)

    planted = [
        f"{name}: {count} entries of {place.index_name}, an index on {place.table}, where 0 were expected"
        for name, counts in found.items()
        for place, count in sorted(counts.items())
        if place.index_name.startswith("planted")
    ]
    assert {one.index_name for counts in found.values() for one in counts} >= {*PLANTED}
    assert planted == differences(read(WRITTEN[backend]), found)
