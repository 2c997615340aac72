"""The part of a session that is the same on every SQL database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.storage.limits import refuse_to_clear, refuse_to_send

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from romancy.status import Status
    from romancy.storage.records import Delivered, Delivery, OutboxRow
    from romancy.storage.routing import Posting

__all__ = ["CommitsOnly"]


class CommitsOnly:
    """A session with a transaction of its own. Its commit carries all messages, and it removes no instance."""

    async def send(
        self,
        deliveries: Sequence[Delivery] = (),  # noqa: ARG002 - refused whatever they are
        outbox: Sequence[OutboxRow] = (),  # noqa: ARG002 - as above
        postings: Sequence[Posting] = (),  # noqa: ARG002 - as above
        /,
    ) -> list[Delivered]:
        refuse_to_send()

    async def clear(
        self,
        instance_id: str,  # noqa: ARG002 - refused whatever it is
        life: int,  # noqa: ARG002 - as above
        statuses: Collection[Status],  # noqa: ARG002 - as above
        /,
    ) -> bool:
        refuse_to_clear()
