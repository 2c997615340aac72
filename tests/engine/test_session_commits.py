"""A session whose COMMIT got no answer: the log says whether it is in, and nothing can change that afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from romancy.core import ActivityCompleted
from romancy.engine.activities.session_commits import Verdict, commit_session
from romancy.engine.incarnation import Incarnation
from romancy.errors import OutcomeUnknownError, StorageUnavailableError
from romancy.storage.backends import create_store
from romancy.storage.records import Item, Outcome, Step
from romancy_conformance.contract.building import Actor, full_log, step, unique

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from romancy.engine.activities.port import Port
    from romancy.engine.log_writer import LogWriter

pytestmark = pytest.mark.anyio


class Doubt:
    """A port whose session loses the answer to its COMMIT, which may have succeeded."""

    def __init__(self, actor: Actor, *, arrives: bool) -> None:
        self.opened = self
        self._actor = actor
        self._arrives = arrives

    async def commit(self, item: Item, /, *, worker: str) -> Outcome:
        if self._arrives:
            await self._actor.write(item)
        raise OutcomeUnknownError("no answer")

    async def close(self) -> None:
        """Close the session; nothing of it is left."""


class Writer:
    """Writes each item at once."""

    def __init__(self, actor: Actor) -> None:
        self._actor = actor

    async def outcome_of(self, item: Item) -> Outcome:
        return await self._actor.write(item)


class Victim(Doubt):
    """A port whose session lost a deadlock or its connection before its COMMIT."""

    async def commit(self, item: Item, /, *, worker: str) -> Outcome:
        raise StorageUnavailableError("chosen to give way")


@pytest.fixture
async def actor() -> AsyncIterator[Actor]:
    """A worker on a store in memory."""
    store = create_store("memory://")
    await store.open()
    yield await Actor(store, workflows={unique("flow"): "c1"}).register()
    await store.close()


async def verdict_of(actor: Actor, item: Step, port: Doubt) -> Verdict:
    """Return how the engine judges a commit through this port."""
    return await commit_session(
        actor.store,
        cast("LogWriter", Writer(actor)),
        cast("Port", port),
        item,
        ActivityCompleted(at=1, id="charge:1"),
        worker=actor.token,
        incarnation=Incarnation(actor.token),
    )


async def test_a_commit_that_was_not_sent_never_happened(actor: Actor) -> None:
    """A7: the attempt is repeated without a failure; nothing takes its place in the log."""
    item = step(await actor.begin(), 2, b'["done"]')

    assert (None, None) == await verdict_of(actor, item, Victim(actor, arrives=False))

    assert len(await full_log(actor.store, item.instance_id)) == 1


@pytest.mark.parametrize("arrives", [True, False])
async def test_an_unanswered_commit_stood_or_can_never_stand(actor: Actor, *, arrives: bool) -> None:
    """A3: its place in the log is its own, or is taken before the attempt is repeated."""
    item = step(await actor.begin(), 2, b'["done"]')

    assert (Outcome.ACCEPTED if arrives else None, None) == await verdict_of(actor, item, Doubt(actor, arrives=arrives))

    assert await actor.write(item) is (Outcome.ACCEPTED if arrives else Outcome.TAKEN)
    assert len(await full_log(actor.store, item.instance_id)) == 2
