"""A session of SQLAlchemy inside an activity: its rows and the activity's result share one commit."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import JSON, ForeignKey, String, create_engine, delete, insert, select, text, update
from sqlalchemy.exc import IntegrityError, MissingGreenlet
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from romancy import (
    RetryExhaustedError,
    RetryPolicy,
    Romancy,
    UsageError,
    WorkflowCancelledError,
    WorkflowContext,
    WorkflowFailedError,
    activity,
    activity_context,
    workflow,
)
from romancy.engine.activities import runner
from romancy.ext.sqlalchemy import session
from romancy.sync import SyncRomancy
from romancy_conformance.servers import Kind
from tests.sessions.libraries import DRIVERS, NAMES, kind_of, sqlalchemy_url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Insert
    from sqlalchemy.ext.asyncio import AsyncSession

pytestmark = [pytest.mark.anyio, pytest.mark.backends("sqlite", *Kind)]

ONCE = RetryPolicy.none()
SOON = RetryPolicy.fixed(3, 0.01)


class Base(DeclarativeBase):
    pass


class Guest(Base):
    __tablename__ = "guests"
    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    nights: Mapped[int] = mapped_column(default=1)
    wishes: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    bags: Mapped[list[Bag]] = relationship(back_populates="guest")


class Bag(Base):
    __tablename__ = "bags"
    id: Mapped[int] = mapped_column(primary_key=True)
    guest_name: Mapped[str] = mapped_column(ForeignKey("guests.name"))
    guest: Mapped[Guest] = relationship(back_populates="bags")


class Kept:
    """What activities leave to their tests."""

    app: Romancy
    attempts: int
    begun: asyncio.Event
    db: Any
    guest: Guest
    loop: asyncio.AbstractEventLoop
    sync: SyncRomancy


class Database:
    """The author's tables, as another program sees them."""

    def __init__(self, url: str) -> None:
        self._engine = create_engine(sqlalchemy_url(url, DRIVERS[kind_of(url)][1]))
        Base.metadata.create_all(self._engine)

    def names(self) -> list[str]:
        with Session(self._engine) as looking:
            return list(looking.scalars(select(Guest.name).order_by(Guest.name)))

    def close(self) -> None:
        self._engine.dispose()


@pytest.fixture
def database(storage_url: str) -> Iterator[Database]:
    database = Database(storage_url)
    yield database
    database.close()


# ── what works ──────────────────────────────────────────────────────────────────────────────────────────────────


@activity(retry=ONCE)
async def book(name: str) -> list[Any]:
    db = await session()
    db.add(Guest(name=name, wishes={"quiet": True}, bags=[Bag(), Bag()]))
    await db.flush()
    async with db.begin_nested():
        twice = insert(Guest).values(name="lost")
        await db.execute(twice)
        with pytest.raises(IntegrityError):
            await _alone(db, twice)
        await db.execute(delete(Guest).where(Guest.name == "lost"))
    async with session() as same, same.begin_nested():
        assert same is db
        same.add(Guest(name=f"{name} & co"))
    plain = await activity_context().session()
    assert [row["name"] for row in await plain.fetch_all(NAMES)][-2:] == [name, f"{name} & co"]
    found = (await db.execute(update(Guest).where(Guest.name == name).values(nights=3))).rowcount  # type: ignore[attr-defined]
    guest = await db.get_one(Guest, name, populate_existing=True)
    db.add(Guest(name=f"{name} at the end"))  # flushed with the result
    return [found, guest.nights, guest.wishes, len(await db.run_sync(lambda _: guest.bags))]


async def _alone(db: AsyncSession, statement: Insert) -> None:
    async with db.begin_nested():
        await db.execute(statement)


@activity(retry=ONCE)
def book_on_a_thread(name: str) -> list[Any]:
    with session() as db:
        db.add(Guest(name=name, wishes={"quiet": True}, bags=[Bag(), Bag()]))
        db.flush()
        with db.begin_nested():
            twice = insert(Guest).values(name="lost")
            db.execute(twice)
            with pytest.raises(IntegrityError), db.begin_nested():
                db.execute(twice)
            db.execute(delete(Guest).where(Guest.name == "lost"))
        with session() as same, same.begin_nested():
            assert same is db
            same.add(Guest(name=f"{name} & co"))
        with activity_context().session() as plain:
            assert [row["name"] for row in plain.fetch_all(NAMES)][-2:] == [name, f"{name} & co"]
        found = db.execute(update(Guest).where(Guest.name == name).values(nights=3)).rowcount  # type: ignore[attr-defined]
        guest = db.get_one(Guest, name, populate_existing=True)
        db.add(Guest(name=f"{name} at the end"))
        return [found, guest.nights, guest.wishes, len(guest.bags)]


@workflow
async def booking(ctx: WorkflowContext, name: str, kind: str) -> list[Any]:
    return await (book if kind == "async" else book_on_a_thread)(name)


@pytest.mark.parametrize("kind", ["async", "thread"])
async def test_rows_and_result_commit_together(storage_url: str, database: Database, kind: str) -> None:
    async with Romancy(storage_url, workflows=[booking]) as app:
        assert await app.run(booking, "ann", kind) == [1, 3, {"quiet": True}, 2]
        assert database.names() == ["ann", "ann & co", "ann at the end"]
        await app.run(booking, "bob", kind)
    assert len(database.names()) == 6


# ── what fails leaves nothing ───────────────────────────────────────────────────────────────────────────────────


@activity(retry=SOON)
async def fails_once(name: str) -> int:
    db = await session()
    attempt = activity_context().attempt
    db.add(Guest(name=f"{name} {attempt}"))
    await db.flush()
    if attempt == 1:
        raise ValueError(name)
    return attempt


@activity(retry=SOON)
def fails_once_on_a_thread(name: str) -> int:
    with session() as db:
        attempt = activity_context().attempt
        db.add(Guest(name=f"{name} {attempt}"))
        db.flush()
        if attempt == 1:
            raise ValueError(name)
        return attempt


@activity(retry=SOON)
async def fails_in_the_last_flush(name: str) -> int:
    db = await session()
    attempt = activity_context().attempt
    await db.execute(insert(Guest).values(name=f"{name} {attempt}"))
    if attempt == 1:
        db.add(Guest(name=f"{name} 1"))
    return attempt


@workflow
async def failing(ctx: WorkflowContext, kind: str) -> int:
    return await {"async": fails_once, "thread": fails_once_on_a_thread, "flush": fails_in_the_last_flush}[kind](kind)


@pytest.mark.parametrize("kind", ["async", "thread", "flush"])
async def test_a_failed_attempt_leaves_nothing(storage_url: str, database: Database, kind: str) -> None:
    async with Romancy(storage_url, workflows=[failing]) as app:
        assert await app.run(failing, kind) == 2
    assert database.names() == [f"{kind} 2"]


# ── what is refused ─────────────────────────────────────────────────────────────────────────────────────────────


@activity(retry=ONCE)
async def ends_it(name: str) -> list[str]:
    db = await session()
    db.add(Guest(name=name))
    await db.flush()
    refused: list[str] = []
    for call in (db.commit, db.rollback, db.close, db.reset, db.invalidate, db.begin, _connection_of(db, "commit")):
        with pytest.raises(UsageError, match="of an activity's session") as caught:
            await call()
        refused.append(str(caught.value).partition("(")[0])
    with pytest.raises(UsageError, match="begin"):
        async with db.begin():
            pass
    return refused


def _connection_of(db: AsyncSession, name: str) -> Any:
    async def call() -> None:
        await getattr(await db.connection(), name)()

    return call


@activity(retry=ONCE)
def ends_it_on_a_thread(name: str) -> list[str]:
    refused: list[str] = []
    with session() as db:
        db.add(Guest(name=name))
        db.flush()
        for call in (db.commit, db.rollback, db.close, db.reset, db.invalidate, db.begin, db.connection().rollback):
            with pytest.raises(UsageError, match="of an activity's session") as caught:
                call()
            refused.append(str(caught.value).partition("(")[0])
    return refused


@workflow
async def ending(ctx: WorkflowContext, kind: str) -> list[str]:
    return await (ends_it if kind == "async" else ends_it_on_a_thread)(kind)


@pytest.mark.parametrize("kind", ["async", "thread"])
async def test_an_activity_cannot_end_its_transaction(storage_url: str, database: Database, kind: str) -> None:
    async with Romancy(storage_url, workflows=[ending]) as app:
        expected = ["commit", "rollback", "close", "reset", "invalidate", "begin"]
        assert [*expected, "commit" if kind == "async" else "rollback"] == await app.run(ending, kind)
    assert database.names() == [kind]


@activity(retry=SOON)
async def swallows(what: str) -> None:
    Kept.attempts += 1
    db = await session()
    db.add(Guest(name=what))
    await db.flush()
    try:
        if what == "flush":
            db.expunge_all()
            db.add(Guest(name=what))
            await db.flush()
        elif what == "statement":
            await db.execute(text("select nothing from nowhere"))
        else:
            async with session():
                raise ValueError(what)
    except Exception:  # noqa: BLE001, S110 - as an author may write it
        pass


@workflow
async def swallowing(ctx: WorkflowContext, what: str) -> None:
    await swallows(what)


@pytest.mark.parametrize("what", ["flush", "statement", "block"])
async def test_a_swallowed_error_fails_the_activity(storage_url: str, database: Database, what: str) -> None:
    async with Romancy(storage_url, workflows=[swallowing]) as app:
        Kept.attempts = 0
        handle = await app.start(swallowing, what)
        with pytest.raises(WorkflowFailedError, match="swallowed; nothing of the activity is kept"):
            await handle.result(timeout=60)
    assert Kept.attempts == 1
    assert database.names() == []


# ── sessions that outlive their attempt ─────────────────────────────────────────────────────────────────────────


@activity(retry=ONCE)
async def keeps(name: str) -> None:
    Kept.db = await session()
    Kept.guest = Guest(name=name)
    Kept.db.add(Kept.guest)


@activity(retry=ONCE)
def keeps_on_a_thread(name: str) -> None:
    with session() as Kept.db:
        Kept.guest = Guest(name=name)
        Kept.db.add(Kept.guest)


@workflow
async def keeping(ctx: WorkflowContext, kind: str) -> None:
    await (keeps if kind == "async" else keeps_on_a_thread)(kind)


async def _used(kind: str) -> None:
    if kind == "async":
        await Kept.db.execute(select(Guest))
    else:
        Kept.db.execute(select(Guest))


@pytest.mark.parametrize("kind", ["async", "thread"])
async def test_a_session_kept_beyond_its_attempt_is_refused(storage_url: str, database: Database, kind: str) -> None:
    async with Romancy(storage_url, workflows=[keeping]) as app:
        await app.run(keeping, kind)
        with pytest.raises(UsageError, match="ends with its attempt"):
            await _used(kind)
        with pytest.raises((UsageError, MissingGreenlet)):
            assert Kept.guest.bags
    assert database.names() == [kind]


# ── crossings ───────────────────────────────────────────────────────────────────────────────────────────────────


@workflow
async def greet(ctx: WorkflowContext, name: str) -> str:
    return f"hello {name}"


@activity(retry=ONCE)
async def starts(name: str) -> None:
    db = await session()
    db.add(Guest(name=name))
    await Kept.app.start_many([greet.options(instance_id=name).bind(name)], session=db)
    if name == "undone":
        raise LookupError(name)


@activity(retry=ONCE)
def starts_on_a_thread(name: str) -> None:
    with session() as db:
        db.add(Guest(name=name))
        Kept.sync.start_many([greet.options(instance_id=name).bind(name)], session=db)
        if name == "undone":
            raise LookupError(name)


@workflow
async def starting(ctx: WorkflowContext, name: str, kind: str) -> str:
    try:
        await (starts if kind == "async" else starts_on_a_thread)(name)
    except RetryExhaustedError:
        return "undone"
    return "done"


async def test_a_start_in_the_session(storage_url: str, database: Database) -> None:
    async with Romancy(storage_url, workflows=[starting, greet]) as Kept.app:
        assert await Kept.app.run(starting, "undone", "async") == "undone"
        assert await Kept.app.get_instance("undone") is None
        assert await Kept.app.run(starting, "ann", "async") == "done"
        assert await Kept.app.handle("ann", greet).result(timeout=60) == "hello ann"
    assert database.names() == ["ann"]


@pytest.mark.long
def test_a_start_in_the_session_of_a_thread(storage_url: str, database: Database) -> None:
    with SyncRomancy(storage_url, workflows=[starting, greet]) as Kept.sync:
        assert Kept.sync.run(starting, "undone", "thread") == "undone"
        assert Kept.sync.get_instance("undone") is None
        assert Kept.sync.run(starting, "ann", "thread") == "done"
        assert Kept.sync.handle("ann", greet).result(timeout=60) == "hello ann"
    assert database.names() == ["ann"]


ENDLESS = {
    "sqlite": "with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n",
    "postgresql": "select pg_sleep(600)",
    "mysql": "select sleep(600)",
}


TIMEOUTS = {"sqlite": 2.0}
"""In seconds. Nobody can write a cancellation to a file of SQLite's while a session holds it."""


@activity(retry=ONCE)
async def never_ends(name: str, kind: str) -> None:
    db = await session()
    db.add(Guest(name=name))
    await db.flush()
    Kept.begun.set()
    await db.execute(text(ENDLESS[kind]))


@activity(retry=ONCE)
def never_ends_on_a_thread(name: str, kind: str) -> None:
    with session() as db:
        db.add(Guest(name=name))
        db.flush()
        Kept.loop.call_soon_threadsafe(Kept.begun.set)
        db.execute(text(ENDLESS[kind]))


@workflow
async def endless(ctx: WorkflowContext, name: str, kind: str) -> None:
    call = (never_ends if name == "async" else never_ends_on_a_thread).options(timeout=TIMEOUTS.get(kind))
    await call(name, kind)


@pytest.mark.long
@pytest.mark.parametrize("kind", ["async", "thread"])
async def test_an_attempt_ends_during_a_statement(
    storage_url: str, database: Database, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "_LAST_WORD", 0.5)
    Kept.begun, Kept.loop = asyncio.Event(), asyncio.get_running_loop()
    async with Romancy(storage_url, workflows=[endless, failing]) as app:
        handle = await app.start(endless, kind, kind_of(storage_url))
        async with asyncio.timeout(60):
            await Kept.begun.wait()
        if kind_of(storage_url) not in TIMEOUTS:
            await handle.cancel()
        with pytest.raises((WorkflowCancelledError, WorkflowFailedError), match=r"cancelled|TimeoutError"):
            await handle.result(timeout=60)
        assert database.names() == []
        assert await app.run(failing, kind) == 2
    assert database.names() == [f"{kind} 2"]


# ── isolation ───────────────────────────────────────────────────────────────────────────────────────────────────


@activity(retry=ONCE)
async def isolated_guest(name: str, *, asks: bool) -> str:
    async with session(isolation="serializable") as db:
        db.add(Guest(name=name))
    assert (await session()) is db
    return str((await db.execute(text("show transaction_isolation"))).scalar_one()) if asks else "serializable"


@activity(retry=ONCE)
def isolated_guest_in_thread(name: str) -> None:
    with session(isolation="serializable") as db:
        db.add(Guest(name=name))
    with pytest.raises(UsageError, match="isolation='serialisable'"):
        _ = session(isolation="serialisable")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType] - the test's point


@workflow
async def isolated_guests(ctx: WorkflowContext, *, asks: bool) -> str:
    await isolated_guest_in_thread("ben")
    return await isolated_guest("ann", asks=asks)


async def test_a_session_may_ask_for_a_level(storage_url: str, database: Database) -> None:
    async with Romancy(storage_url, workflows=[isolated_guests]) as app:
        assert "serializable" == await app.run(isolated_guests, asks=kind_of(storage_url) == "postgresql")
    assert ["ann", "ben"] == database.names()
