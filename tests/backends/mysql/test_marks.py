"""The time of the last marks at an address, by which a dispatch learns that another one was faster."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from romancy.storage.query import gt
from romancy.storage.routing import OUTSIDE, Owner
from romancy_conformance.contract.building import unique
from romancy_conformance.contract.interleaving import HoldAt, held_at, leave, listen, run
from romancy_conformance.contract.routing.scenes import drained, member, posting, take

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy_mysql._store import MySQLStore

    Open = Callable[..., Awaitable[MySQLStore]]

pytestmark = pytest.mark.anyio


@pytest.mark.backends("mysql", "mariadb")
async def test_an_address_that_was_marked_meanwhile_does_not_expire(store: MySQLStore, open_store: Open) -> None:
    """Without its row, a dispatch that read before would not learn of the marks, and mark what nobody has compared."""
    address, screen = unique("c"), Owner(unique("screen"), OUTSIDE)
    slow, expiring = await open_store(), await open_store()
    router = store.services.router
    await router.register(screen, member(address, "member"))
    await router.unregister(screen, ["member"])
    late, dispatch = HoldAt("end_addresses"), HoldAt("route_interests")

    listen(expiring, late)
    expired = run(expiring, expiring.services.router.expire(1))
    assert await held_at(late, expired), "it has found that nothing is kept there"
    await router.register(screen, take(address, {"n": gt(100)}, "first"))
    await router.post([posting(address, body=b'{"n":0}')])
    listen(slow, dispatch)
    dispatched = run(slow, slow.services.router.dispatch([address]))
    assert await held_at(dispatch, dispatched), "it has read the messages"
    await router.post([posting(address, body=b'{"n":50}')])
    assert await drained(store, address) == 0
    late.go.set()
    await expired
    await router.register(screen, take(address, {"n": gt(40)}, "second"))
    dispatch.go.set()
    await dispatched
    for each in (slow, expiring):
        leave(each)

    await drained(store, address)
    (letter,) = await router.letters(screen.name)
    assert letter.body == b'{"n":50}'
