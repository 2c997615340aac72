"""Two messages of one id, posted at the same time at places of which they share one: one is kept, at all its places."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from romancy.errors import StorageUnavailableError
from romancy.storage.records import Outcome
from romancy.storage.routing import Place, Spread
from romancy_conformance.contract.building import append, unique
from romancy_conformance.contract.interleaving import play
from romancy_conformance.contract.routing.scenes import posting

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy.storage.protocol import Store
    from romancy.storage.records import Append
    from romancy_conformance.contract.building import Actor

    Scene = tuple[Awaitable[Any], Awaitable[Any], Callable[[Any, Any], Awaitable[None]]]

pytestmark = [pytest.mark.anyio, pytest.mark.dealt]


async def in_session(actor: Actor, item: Append) -> Outcome:
    """Commit in a session, again while another transaction is in the way, as an engine does."""
    for _ in range(20):
        try:
            async with actor.store.services.sessions.begin() as session:
                return await session.commit(item, worker=actor.token)
        except StorageUnavailableError:
            continue
    raise AssertionError("the others are in the way for ever")


@pytest.mark.parametrize("keys", [(None, None), ("one", "one"), ("one", "another")])
@pytest.mark.parametrize("way", ["post", "append"])
async def test_one_is_kept_whole_and_uses_its_key(
    actor: Actor, store: Store, other_store: Store, keys: tuple[str | None, str | None], way: str
) -> None:
    """The first stays uncommitted in its transaction while the second is posted. The other's key stays free."""

    async def scenario() -> Scene:
        left, shared, right = (unique(name) for name in ("a", "b", "c"))
        mine, theirs = await actor.begin(), await actor.begin()
        one = posting(shared, places=(Place(left, Spread.ONE), Place(shared, Spread.EVERY)), dedupe=keys[0])
        two = replace(one, places=(Place(shared, Spread.ONE), Place(right, Spread.EVERY)), dedupe=keys[1], body=b"2")

        async def second() -> None:
            if way == "post":
                await other_store.services.router.post([two])
            else:
                item = append(theirs, 2, postings=(two,))
                assert await other_store.commit([item], worker=actor.token) == [Outcome.ACCEPTED]

        async def check(_: Any, __: Any) -> None:
            kept = [one for place in (left, shared, right) for one in await store.services.router.kept(address=place)]
            (winner,) = (each for each in (one, two) if each.body == kept[0].body)
            assert [(each.address, each.body) for each in kept] == [(one.address, winner.body) for one in winner.places]
            for each in (one, two):
                if each.dedupe is not None:
                    again = posting(each.topic, dedupe=each.dedupe)
                    used = await store.services.router.post([again]) == ["duplicate"]
                    assert used is (each is winner)

        return in_session(actor, append(mine, 2, postings=(one,))), second(), check

    await play(store, scenario)
