"""Opening and closing: from any state of the database, by many at once, with clear words where it cannot be."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import pytest

from romancy.errors import SchemaVersionError, StorageConfigurationError, StorageError, StorageUnavailableError
from romancy.storage.backends import create_store
from romancy.storage.query import Query
from romancy.storage.records import ClaimRequest, Outcome, Peer, PruneRequest
from romancy_conformance.contract.building import Actor, delivery, full_log, settle, start, step, unique
from romancy_conformance.contract.dialects import DIALECTS, dialect_of
from romancy_conformance.contract.opener import open_together

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy.storage.protocol import Store
    from romancy_conformance.contract.dialects import Dialect

    Open = Callable[[], Awaitable[Store]]

pytestmark = pytest.mark.anyio

_SECRET = "hunter2 %/@"


async def test_a_store_is_usable_after_open_and_what_was_written_is_there_in_the_next(storage_url: str) -> None:
    item = start()
    first, second = create_store(storage_url), create_store(storage_url)
    await first.open()
    await first.commit([item])
    await second.open()
    await first.close()

    history = await second.read(item.instance_id)

    await second.close()
    assert history is not None
    assert [row.body for row in history.rows] == [item.body]


async def test_opening_twice_and_closing_twice_change_nothing(storage_url: str) -> None:
    store = create_store(storage_url)
    await store.close()
    await store.open()
    await store.open()
    item = start()
    assert await store.commit([item]) == [Outcome.ACCEPTED]
    assert await store.read(item.instance_id) is not None
    await store.close()
    await store.close()

    with pytest.raises(StorageUnavailableError):
        await store.read(item.instance_id)


async def _begin_session(store: Store) -> None:
    async with store.services.sessions.begin():
        pass


async def test_a_store_that_is_not_open_says_so(storage_url: str) -> None:
    store = create_store(storage_url)
    assert await answered_by(store) == [], "before it is opened"

    await store.open()
    await store.close()
    assert await answered_by(store) == [], "after it is closed"


async def answered_by(store: Store) -> list[str]:
    """Return the calls that do not raise the error of a store that is not open."""
    actor = Actor(store, workflows={unique("flow"): "c1"})
    peer: Any = {"token": "t", "worker_id": "w", "lease": 1, "beat": 1, "dead": False, "codes": (), "started_at": 0}
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "commit": lambda: store.commit([start()]),
        "append": lambda: store.commit([step(start(), 2)], worker=actor.token),
        "read": lambda: store.read("x"),
        "claim": lambda: store.claim(ClaimRequest(worker=actor.token, codes=actor.workflows, limit=1)),
        "heartbeat": lambda: store.heartbeat(actor.worker),
        "takeover": lambda: store.takeover(actor.token, Peer(**peer, host=actor.worker.host), b"[]", unique("w")),
        "deliver": lambda: store.deliver([delivery("x")]),
        "find": lambda: store.services.reading.find(Query()),
        "session": lambda: _begin_session(store),
        "prune": lambda: store.services.upkeep.prune(PruneRequest()),
        "outbox.read": lambda: store.services.outbox.read(1),
        "outbox.remove": lambda: store.services.outbox.remove(["x"]),
        "wait_for_work": lambda: store.wait_for_work(0.01),
    }

    answered: list[str] = []
    for name, call in calls.items():
        try:
            await call()
        except StorageUnavailableError:
            continue
        answered.append(name)
    return answered


async def test_closing_ends_what_is_under_way_and_keeps_what_was_acknowledged(storage_url: str) -> None:
    store = create_store(storage_url)
    await store.open()
    falls_silent = await settle(store)
    items = [start() for _ in range(60)]

    async def write(number: int) -> Outcome | None:
        try:
            return (await store.commit([items[number]]))[0]
        except StorageUnavailableError:
            return None

    writing = [asyncio.create_task(write(number)) for number in range(60)]
    waiting = asyncio.create_task(store.wait_for_work(60))
    await asyncio.wait(writing, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.wait_for(store.close(), 60)
    outcomes = await asyncio.wait_for(asyncio.gather(*writing), 60)
    await asyncio.wait({waiting}, timeout=50)

    assert waiting.done()
    ended = waiting.exception()
    if ended is None:
        assert waiting.result() is not None or not falls_silent
    else:
        assert isinstance(ended, StorageUnavailableError)
    again = create_store(storage_url)
    await again.open()
    missing = [
        item.instance_id
        for item, outcome in zip(items, outcomes, strict=True)
        if outcome is Outcome.ACCEPTED and await again.read(item.instance_id) is None
    ]
    shared = again.capabilities.processes
    await again.close()
    assert missing == [] or not shared


async def test_closing_leaves_no_task_and_no_thread_behind(storage_url: str) -> None:
    async def use() -> None:
        store = create_store(storage_url)
        await store.open()
        await store.commit([start()])
        await store.heartbeat(Actor(store, workflows={}).worker)
        await store.wait_for_work(0.01)
        await store.close()

    await use()  # what the first use sets up once for the process is not the store's
    tasks, threads = asyncio.all_tasks(), set(threading.enumerate())
    await use()

    assert asyncio.all_tasks() - tasks == set()
    names = {thread.name for thread in set(threading.enumerate()) - threads if thread.is_alive()}
    assert {name for name in names if not name.startswith("asyncio_")} == set(), "these are not the event loop's"


async def has_no_schema(store: Store) -> bool:
    """Whether the store opens without making anything, and says that it has nothing to make."""
    try:
        await store.open(migrate=False)
    except SchemaVersionError:
        return False
    told = not store.capabilities.schema
    await store.close()
    return told


async def test_an_empty_database_is_not_touched_without_leave(empty_url: str) -> None:
    store = create_store(empty_url)
    if await has_no_schema(store):
        pytest.skip("capability: the store has no schema")

    for _ in range(2):  # had the first one made the schema, the second one would open
        with pytest.raises(SchemaVersionError, match=r"(?i)migrat"):
            await store.open(migrate=False)
        await store.close()

    allowed, again = create_store(empty_url), create_store(empty_url)
    await allowed.open()
    await again.open(migrate=False)
    assert await again.commit([start()]) == [Outcome.ACCEPTED]
    await allowed.close()
    await again.close()


def migrated(store: Store) -> Dialect:
    """Return the dialect of the store; skip the test if no program finds a database of another version."""
    if not store.capabilities.schema:
        pytest.skip("capability: the store has no schema")
    return dialect_of(store)


async def test_a_newer_schema_is_refused(empty_url: str, store: Store) -> None:
    dialect = migrated(store)
    async with store.services.sessions.begin() as session:
        await session.execute(dialect.newer_schema)
        await session.commit(start())

    for migrate in (True, False):
        late = create_store(empty_url)
        with pytest.raises(SchemaVersionError, match=r"newer|9999"):
            await late.open(migrate=migrate)
        await late.close()


async def test_a_newer_schema_on_which_older_code_may_continue_is_used(empty_url: str, store: Store) -> None:
    dialect = migrated(store)
    async with store.services.sessions.begin() as session:
        await session.execute(dialect.additive_schema)
        await session.commit(start())

    for migrate in (True, False):
        late = create_store(empty_url)
        await late.open(migrate=migrate)
        assert await late.commit([start()]) == [Outcome.ACCEPTED]
        await late.close()


async def test_one_migration_that_stops_older_code_is_enough(empty_url: str, store: Store) -> None:
    dialect = migrated(store)
    async with store.services.sessions.begin() as session:
        await session.execute(dialect.newer_schema)
        await session.execute(dialect.additive_schema)
        await session.commit(start())

    late = create_store(empty_url)
    with pytest.raises(SchemaVersionError, match=r"(?s)9999.*run a newer version"):
        await late.open()
    await late.close()


@pytest.mark.dealt
async def test_processes_open_an_empty_database_at_once(empty_url: str, open_store: Open) -> None:
    """The tests beside the adapters (`tests/backends`) do the same on a database of an older schema."""
    written = await open_together(empty_url)

    store = await open_store()
    if store.capabilities.processes:
        for instance_id in written:
            assert len(await full_log(store, instance_id)) == 1


def test_an_unknown_scheme_names_the_known_ones() -> None:
    with pytest.raises(StorageConfigurationError, match=r"no backend for the scheme.*sqlite") as caught:
        create_store(f"nosuch://user:{quote(_SECRET, safe='')}@host/db")

    assert _secrets_in(caught.value) == []


@pytest.mark.parametrize("url", ["", "orders.txt", "sqlite", "postgresql://u:hunter2@[::1/db", "postgresql://u@h:x/db"])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(StorageConfigurationError) as caught:
        create_store(url)

    assert _secrets_in(caught.value) == []


async def test_an_option_nobody_knows_is_refused(storage_url: str) -> None:
    joint = "&" if "?" in storage_url else "?"

    with pytest.raises(StorageConfigurationError, match="no_such_option"):
        await _attempt(f"{storage_url}{joint}no_such_option=1")


async def test_a_wrong_password_is_named_and_not_shown(storage_url: str, backend: str) -> None:
    if backend == "vitess":
        pytest.skip("capability: the gate of this suite asks for no password")
    url = _with(storage_url, password=quote(_SECRET, safe=""))

    with pytest.raises(StorageConfigurationError) as caught:
        await _attempt(url)

    assert _secrets_in(caught.value) == []


async def test_a_missing_database_is_named(storage_url: str) -> None:
    path = urlsplit(_with(storage_url)).path

    with pytest.raises(StorageConfigurationError, match="nothing_here") as caught:
        await _attempt(_with(storage_url, path=f"{path[:20]}_nothing_here"))

    assert _secrets_in(caught.value) == []


async def test_a_server_that_is_not_there_is_unavailable(storage_url: str) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = _with(storage_url, port=nobody.getsockname()[1], password=quote(_SECRET, safe=""))

        with pytest.raises(StorageUnavailableError) as caught:
            await asyncio.wait_for(_attempt(url), 60)

    assert _secrets_in(caught.value) == []


@pytest.mark.dealt
def test_a_missing_driver_says_what_to_install(storage_url: str) -> None:
    scheme = urlsplit(storage_url).scheme
    drivers = {name.lower(): dialect.driver for name, dialect in DIALECTS.items()}
    if scheme not in drivers:
        pytest.skip(f"capability: the suite does not know which driver {scheme} needs")
    program = f"import sys; sys.modules[{drivers[scheme]!r}] = None\n{_OPEN_IT}"

    done = subprocess.run([sys.executable, "-c", program, storage_url], capture_output=True, text=True, check=False)

    assert done.stdout.startswith("StorageConfigurationError "), done.stdout + done.stderr
    assert "pip install" in done.stdout
    password = urlsplit(storage_url).password
    assert password is None or password not in done.stdout + done.stderr


_OPEN_IT = """
import asyncio
from romancy.storage.backends import create_store
try:
    store = create_store(sys.argv[1])
    asyncio.run(store.open())
except Exception as error:
    print(type(error).__name__, error)
"""


async def _attempt(url: str) -> None:
    store = create_store(url)
    try:
        await store.open()
    finally:
        await store.close()


def _with(url: str, *, password: str | None = None, port: int | None = None, path: str | None = None) -> str:
    """Return the URL with these parts replaced; skip the test if it names no server."""
    parts = urlsplit(url)
    if parts.password is None:
        pytest.skip("capability: no server with accounts behind this URL")
    account = f"{parts.username}:{password if password is not None else parts.password}"
    netloc = f"{account}@{parts.hostname}:{port if port is not None else parts.port}"
    return parts._replace(netloc=netloc, path=path if path is not None else parts.path).geturl()


def _secrets_in(error: BaseException | None) -> list[str]:
    """Return every text of the error and its causes that contains the password."""
    shown: list[str] = []
    while error is not None:
        shown += [text for text in (str(error), repr(error)) if "hunter2" in text]
        assert isinstance(error, StorageError | OSError | Exception)
        error = error.__cause__
    return shown
