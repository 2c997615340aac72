"""A claim skips locked rows, and looks for them again only after a moment: so sweeps lock no open instance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from romancy_conformance.contract.building import start

if TYPE_CHECKING:
    from romancy_conformance.contract.building import Actor
    from romancy_postgres._connection import Link
    from romancy_postgres._store import PostgresStore

pytestmark = [pytest.mark.anyio, pytest.mark.backends("postgres")]


async def test_a_due_instance_can_be_claimed_while_its_mail_is_swept(store: PostgresStore, actor: Actor) -> None:
    due = start(workflow_name=next(iter(actor.workflows)))
    await store.commit([due])

    async def swept(link: Link) -> list[str]:
        await link.run("sweep_ended", [due.instance_id])
        return [claimed.instance_id for claimed in await actor.claim()]

    assert await store.database.transaction(swept) == [due.instance_id]
