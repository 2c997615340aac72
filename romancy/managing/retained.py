"""Whether ended instances go although their app does not say how long they stay: a fact of the database.

The first migration says so, with a row. So it holds in new databases, and not in those that are older than this rule.
An operator can say otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from romancy._options import yes_or_no
from romancy.managing.moving import Moving
from romancy.storage.routing import OUTSIDE, Interest, InterestKind, Owner
from romancy.storage.services import Service

if TYPE_CHECKING:
    from romancy.storage.protocol import Store

__all__ = ["RetainedByDefault", "goes_by_default"]

_OWNER: Final = Owner("romancy/retention", OUTSIDE)
_SAID: Final = Interest(interest_id="by default", address="t/retention", kind=InterestKind.MEMBER)
"""The row. Nothing is posted to its address."""


class RetainedByDefault(Moving):
    """Reads and changes what the database says of retention."""

    async def retention_by_default(self) -> bool:
        """Whether ended instances of apps without `retention=` go in this database, as they do in new ones."""
        return await goes_by_default(self._access.opened("retention_by_default"))

    async def set_retention_by_default(self, *, on: bool) -> None:
        """Let ended instances of apps without `retention=` go in this database, or stay for ever.

        Every worker looks before it removes anything, and needs no restart.
        """
        goes = yes_or_no(on, "on")
        router = self._access.to_write("set_retention_by_default").services.router
        await (router.register(_OWNER, _SAID) if goes else router.unregister(_OWNER, [_SAID.interest_id]))


async def goes_by_default(store: Store) -> bool:
    """Whether the database says so."""
    if Service.ROUTER not in store.services.offered:
        return False
    found = await store.services.router.interests(_SAID.address)
    return any((owner, one.interest_id) == (_OWNER, _SAID.interest_id) for owner, one in found)
