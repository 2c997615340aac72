"""Fixtures of the behaviour suite: apps on a fresh database."""

from __future__ import annotations

import sys
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, cast

import pytest

from romancy import Romancy, Workflow
from romancy.storage.backends import create_store
from romancy_conformance.behaviour.cast import record
from romancy_conformance.replaying.plugin import replay_afterwards

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from romancy.storage.protocol import Store


@pytest.fixture
def anyio_backend() -> str:
    """Apps run on asyncio."""
    return "asyncio"


@pytest.fixture(autouse=True)
def histories(request: pytest.FixtureRequest) -> Iterator[None]:
    """When everything that the test opened is closed, another process replays the histories it has left."""
    yield from replay_afterwards(request, swept="faults" in request.path.parts)


@pytest.fixture(autouse=True)
def empty_record() -> None:
    """Clear the record of the test before."""
    record.forget()


@pytest.fixture
def workflows(request: pytest.FixtureRequest) -> list[Workflow[..., Any]]:
    """The workflows of the test's own file: other files may use the same names."""
    names: dict[str, object] = vars(sys.modules[request.function.__module__])
    return [cast("Workflow[..., Any]", thing) for thing in names.values() if isinstance(thing, Workflow)]


@pytest.fixture
async def open_app(
    storage_url: str, workflows: list[Workflow[..., Any]]
) -> AsyncIterator[Callable[..., Awaitable[Romancy]]]:
    """Open one more app on this test's database, as another process would."""
    async with AsyncExitStack() as stack:

        async def opener(**options: Any) -> Romancy:
            options.setdefault("workflows", workflows)
            return await stack.enter_async_context(Romancy(storage_url, **options))

        yield opener


@pytest.fixture
async def app(open_app: Callable[..., Awaitable[Romancy]]) -> Romancy:
    """An open app with a worker."""
    return await open_app()


@pytest.fixture
async def store(storage_url: str, app: Romancy) -> AsyncIterator[Store]:
    """The database of the app, opened once more."""
    store = create_store(storage_url)
    await store.open()
    yield store
    await store.close()
