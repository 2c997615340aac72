"""Whether ended instances go although their app does not say how long they stay: a fact of the database.

The first migration says so, with a row. So it holds in new databases, and not in those that are older than this rule.
An operator can say otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from romancy.storage.routing import OUTSIDE, Interest, InterestKind, Owner
from romancy.storage.services import Service

if TYPE_CHECKING:
    from romancy.storage.protocol import Store

__all__ = ["goes_by_default", "let_go_by_default"]

_OWNER: Final = Owner("romancy/retention", OUTSIDE)
_ADDRESS: Final = "t/retention"
"""The address of what the database says of it. Nothing is posted there."""
_MARK: Final = "by default"


async def goes_by_default(store: Store) -> bool:
    """Whether it holds in this database."""
    if Service.ROUTER not in store.services.offered:
        return False
    found = await store.services.router.interests(_ADDRESS)
    return any((owner, one.interest_id) == (_OWNER, _MARK) for owner, one in found)


async def let_go_by_default(store: Store, goes: bool) -> None:  # noqa: FBT001 - what it says
    """Let it hold or not from now on, for all workers."""
    router = store.services.router
    if goes:
        await router.register(_OWNER, Interest(interest_id=_MARK, address=_ADDRESS, kind=InterestKind.MEMBER))
    else:
        await router.unregister(_OWNER, [_MARK])
