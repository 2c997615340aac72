"""Programs with sessions of SQLAlchemy that both type checkers accept, without a cast. Nothing here runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_type

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from romancy import Romancy, WorkflowContext, activity, workflow
from romancy.ext.sqlalchemy import session

if TYPE_CHECKING:
    from romancy.sync import SyncRomancy


class Base(DeclarativeBase):
    pass


class Guest(Base):
    __tablename__ = "guests"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


@activity
async def book(name: str) -> int:
    async with session() as db:
        assert_type(db, AsyncSession)
        guest = Guest(name=name)
        db.add(guest)
    assert_type(await session(), AsyncSession)
    return guest.id


@activity
def book_on_a_thread(name: str) -> int:
    with session() as db, db.begin_nested():
        assert_type(db, Session)
        found = db.scalars(select(Guest).where(Guest.name == name)).one()
        assert_type(found, Guest)
        return found.id


@workflow
async def stay(ctx: WorkflowContext, name: str) -> int:
    return await book(name) + await book_on_a_thread(name)


async def arrive(app: Romancy, url: str) -> int:
    make = async_sessionmaker(create_async_engine(url))
    async with make.begin() as db:
        db.add(Guest(name="ann"))
        (handle,) = await app.start_many([stay.bind("ann")], session=db)
        await app.send("arrived", "ann", session=db)
    return await handle.result()


def arrive_on_a_thread(app: SyncRomancy, db: Session) -> int:
    (handle,) = app.start_many([stay.bind("ann")], session=db)
    db.commit()
    return handle.result()
