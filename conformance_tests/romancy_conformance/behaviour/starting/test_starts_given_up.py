"""A start whose caller has given up while the database is away does not happen later, unless it may have been sent."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from romancy import OutcomeUnknownError, StorageUnavailableError
from romancy_conformance.behaviour.cast import returns
from romancy_conformance.behaviour.stores import WrappedStore, wrap_stores
from romancy_conformance.behaviour.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from romancy import Romancy
    from romancy.storage.protocol import Store
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio


class Away(WrappedStore):
    """A store whose starts wait for the test, and then fail, while it is away."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.error: Callable[[str], Exception] | None = None
        self.trying = asyncio.Event()
        self.answer = asyncio.Event()

    async def commit(self, batch: Any, /, **options: Any) -> Any:
        if self.error is not None and any(item.seq == 1 for item in batch):
            self.trying.set()
            await self.answer.wait()
            if self.error is not None:
                error = self.error("planted")
                if isinstance(error, OutcomeUnknownError):
                    await self._store.commit(batch, **options)
                raise error
        return await self._store.commit(batch, **options)


@pytest.fixture
def stores(monkeypatch: pytest.MonkeyPatch) -> list[Away]:
    """The stores of the apps opened from here on."""
    return wrap_stores(monkeypatch, Away)


async def _start(app: Romancy, how: str) -> None:
    calls = [returns.options(instance_id=f"gone-{number}") for number in range(2 if how == "start_many" else 1)]
    if how == "start_many":
        await app.start_many([call.bind("done") for call in calls])
    else:
        await app.start(calls[0], "done")


async def _give_up_while_it_is_tried(app: Romancy, store: Away, how: str, error: Callable[[str], Exception]) -> None:
    store.error = error
    starting = asyncio.create_task(_start(app, how))
    await store.trying.wait()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    store.answer.set()


@pytest.mark.parametrize("works", [False, True], ids=["client", "worker"])
@pytest.mark.parametrize("how", ["start", "start_many"])
async def test_one_that_was_being_tried_and_wrote_nothing_never_happens(
    open_app: Open, stores: list[Away], how: str, *, works: bool
) -> None:
    app = await open_app(worker=works)
    store = stores[-1]
    await _give_up_while_it_is_tried(app, store, how, StorageUnavailableError)
    store.trying.clear()
    beside = asyncio.create_task(app.start(returns.options(instance_id="beside"), "done"))
    await store.trying.wait()  # the writer has come back to the database with what is left
    store.error = None
    await beside
    assert [row.instance_id async for row in app.iter_instances()] == ["beside"]


@pytest.mark.parametrize("works", [False, True], ids=["client", "worker"])
async def test_one_that_may_have_been_sent_is_found_by_its_id(
    open_app: Open, stores: list[Away], *, works: bool
) -> None:
    app = await open_app(worker=works)
    store = stores[-1]
    await _give_up_while_it_is_tried(app, store, "start", OutcomeUnknownError)
    store.error = None
    if not works:
        await open_app()
    await until(lambda: app.get_instance("gone-0"))
    assert await app.handle("gone-0", returns).result(timeout=60) == "done"
