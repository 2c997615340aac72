"""The size of a statement and of a transaction: a server refuses a packet that is too large."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from romancy_conformance.contract.building import append, delivery, full_log
from romancy_conformance.contract.interleaving import statements

if TYPE_CHECKING:
    from romancy_conformance.contract.building import Actor
    from romancy_mysql._store import MySQLStore

pytestmark = [pytest.mark.anyio, pytest.mark.backends("mysql", "mariadb")]

_LARGE = b"x" * 2_000_000


async def test_what_one_item_sends_is_several_statements_of_one_transaction(store: MySQLStore, actor: Actor) -> None:
    begun = await actor.begin()
    item = append(begun, 2, deliveries=tuple(delivery(begun, _LARGE) for _ in range(6)))

    names = await statements(store, store.commit([item], worker=actor.token))

    assert len(await full_log(store, begun.instance_id)) == 2
    assert (6, 1) == (names.count("add_inbox"), names.count("commit"))


async def test_much_mail_is_several_transactions(store: MySQLStore, actor: Actor) -> None:
    mail = [delivery(await actor.begin(), _LARGE) for _ in range(6)]

    names = await statements(store, store.deliver(mail))

    assert (6, 6) == (names.count("add_inbox"), names.count("commit"))
