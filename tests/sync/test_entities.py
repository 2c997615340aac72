"""Entities from code without `await`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from romancy import RequestFailedError, RequestTimeoutError, entity, entity_context
from romancy.sync import SyncRomancy

if TYPE_CHECKING:
    from pathlib import Path


@entity("sync-cart")
@dataclass
class Cart:
    items: list[str] = field(default_factory=list[str])

    async def add(self, item: str) -> int:
        self.items.append(item)
        return len(self.items)

    async def spoil(self) -> None:
        raise ValueError("spoilt")

    async def rest(self) -> None:
        await entity_context().sleep(3600)


def test_an_entity_is_called_without_await(tmp_path: Path) -> None:
    with SyncRomancy(f"sqlite:///{tmp_path}/carts.db", workflows=[Cart]) as app:
        cart = app.entity_handle(Cart, "7")
        assert cart.instance_id == "sync-cart:7"
        assert cart.state() is None
        assert cart.call(Cart.add, "lamp") == 1
        assert cart.ask(Cart.add, "desk").reply(30) == 2
        state = cart.state()
        assert state is not None
        assert state.items == ["lamp", "desk"]
        with pytest.raises(RequestFailedError, match=r"failed at the call of Cart\.spoil: ValueError: spoilt"):
            cart.call(Cart.spoil)
        for _ in range(2):
            assert app.entity_handle(Cart, "7", id="once").call(Cart.add, "bed") == 3
        cart.destroy()
        assert cart.state() is None


def test_a_wait_without_await_has_a_limit(tmp_path: Path) -> None:
    with SyncRomancy(f"sqlite:///{tmp_path}/carts.db", workflows=[Cart]) as app:
        asked = app.entity_handle(Cart, "8").ask(Cart.rest)
        with pytest.raises(RequestTimeoutError, match=r"did not answer the call of Cart\.rest within 0\.2 s"):
            asked.reply(0.2)
