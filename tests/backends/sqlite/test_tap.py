"""What the suite holds open on SQLite are the statements that users run: inline, on the writer's thread, in bulk."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from romancy.storage.records import Outcome
from romancy_conformance.contract.building import Actor, append, change, step, unique
from romancy_conformance.taps import tap_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy.storage.records import Item
    from romancy_sqlite import SqliteStore

    Open = Callable[..., Awaitable[SqliteStore]]

pytestmark = pytest.mark.anyio


async def heard(actor: Actor, batch: list[Item], way: str) -> list[str]:
    """Commit the batch on this way; return the names of its statements."""
    names: list[str] = []

    async def note(statement: str, /) -> None:
        names.append(statement)

    tap = tap_of(actor.store)
    tap.listen(actor.store, note, way)
    outcomes = await tap.run(actor.store, actor.store.commit(batch, worker=actor.token))
    tap.leave(actor.store)
    assert outcomes == [Outcome.ACCEPTED] * len(batch)
    return names


async def test_a_held_commit_is_that_of_a_user(open_store: Open) -> None:
    actor = await Actor(await open_store(), workflows={unique("flow"): "c1"}).register()
    one, two = await actor.begin(), await actor.begin()
    inline, thread = tap_of(actor.store).ways

    assert await heard(actor, [step(one, 2)], inline) == ["append_log"], "a lone step is a transaction by itself"
    assert await heard(actor, [step(one, 3)], thread) == ["begin", "append_log", "commit"]
    changing = await heard(actor, [append(one, 4, change=change())], inline)
    assert (changing[0], changing[-1], "item_begin" in changing) == ("begin", "commit", False)
    batch: list[Item] = [append(one, 5, change=change()), append(two, 2, change=change())]
    assert await heard(actor, batch, thread) == ["begin", "append_logs", "change_instances", "commit"]
