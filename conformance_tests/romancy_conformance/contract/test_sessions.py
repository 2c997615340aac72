"""Sessions: the user's writes and one append commit together, or neither does."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from typing import TYPE_CHECKING

import pytest

from romancy.errors import UsageError
from romancy.status import Status
from romancy.storage.records import ClaimRequest, Delivered, Item, OutboxRow, Outcome
from romancy_conformance.contract.building import append, change, delivery, full_log, joinable, start, step, unique
from romancy_conformance.contract.ledger import Ledger
from romancy_conformance.contract.natives import run_natively

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy.storage.protocol import Store
    from romancy.storage.records import Append, InboxRow
    from romancy.storage.sessions import StoreSession
    from romancy_conformance.contract.building import Actor

    Hire = Callable[..., Awaitable[Actor]]

pytestmark = pytest.mark.anyio


@pytest.fixture
async def ledger(store: Store) -> Ledger:
    """A user's table in this test's database."""
    return await Ledger(store).create()


async def test_writes_and_append_commit_together(actor: Actor, ledger: Ledger) -> None:
    begun = await actor.begin()

    async with actor.store.services.sessions.begin() as session:
        await ledger.write(session, "a", 1)
        assert await ledger.read_in(session, "a") == 1
        assert await session.commit(step(begun, 2), worker=actor.token) is Outcome.ACCEPTED

    assert await ledger.read("a") == 1
    assert len(await full_log(actor.store, begun.instance_id)) == 2


async def test_leaving_without_commit_leaves_nothing(actor: Actor, ledger: Ledger) -> None:
    async with actor.store.services.sessions.begin() as session:
        await ledger.write(session, "a", 1)

    assert await ledger.read("a") is None


async def test_an_exception_leaves_nothing(actor: Actor, ledger: Ledger) -> None:
    async def fail() -> None:
        async with actor.store.services.sessions.begin() as session:
            await ledger.write(session, "a", 1)
            raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        await fail()

    assert await ledger.read("a") is None


async def test_a_refused_append_takes_the_writes_with_it(actor: Actor, hire: Hire, ledger: Ledger) -> None:
    for reason in (Outcome.TAKEN, Outcome.UNSEEN, Outcome.DEAD):
        begun = await actor.begin()
        item: Item = step(begun, 2)
        if reason is Outcome.TAKEN:
            await actor.write(step(begun, 2))
        elif reason is Outcome.DEAD:
            await (await hire()).take_over(actor)
            item = step(begun, 3)
        else:
            await actor.store.deliver([delivery(begun)])
            item = append(begun, 2, change=change(Status.COMPLETED))

        async with actor.store.services.sessions.begin() as session:
            await ledger.write(session, "a", 1)
            outcome = await session.commit(item, worker=actor.token)

        assert outcome is reason
        assert await ledger.read("a") is None, reason


async def test_everything_an_append_can_carry_commits_with_the_writes(actor: Actor, ledger: Ledger) -> None:
    begun, target = await actor.begin(), await actor.begin()
    mail = delivery(begun)
    await actor.store.deliver([mail])
    child = start()
    item = append(
        begun,
        2,
        change=change(Status.COMPLETED, seen=1),
        consumed=(mail.delivery_id,),
        deliveries=(delivery(target),),
        starts=(child,),
    )

    async with actor.store.services.sessions.begin() as session:
        await ledger.write(session, "a", 1)
        assert await session.commit(item, worker=actor.token) is Outcome.ACCEPTED

    assert await ledger.read("a") == 1
    assert await actor.store.read(child.instance_id) is not None
    assert await actor.store.deliver([delivery(begun)]) == [Delivered.CLOSED]
    sleep = append(target, 2, change=change(Status.WAITING, seen=0, release=True))
    assert await actor.write(sleep) is Outcome.ACCEPTED
    assert [claimed.instance_id for claimed in await actor.claim()] == [target.instance_id]


async def test_a_savepoint_fails_alone(actor: Actor, ledger: Ledger) -> None:
    begun = await actor.begin()

    async def fail_inside() -> None:
        async with session.savepoint():
            await ledger.write(session, "inner", 2)
            raise LookupError("inner")

    async with actor.store.services.sessions.begin() as session:
        await ledger.write(session, "outer", 1)
        with pytest.raises(LookupError, match="inner"):
            await fail_inside()
        assert await session.commit(step(begun, 2), worker=actor.token) is Outcome.ACCEPTED

    assert (await ledger.read("outer"), await ledger.read("inner")) == (1, None)


async def test_a_failed_statement_in_a_savepoint_does_not_doom_the_rest(actor: Actor, ledger: Ledger) -> None:
    if not actor.store.capabilities.sql:
        pytest.skip("capability: no SQL in sessions")
    begun = await actor.begin()

    async with actor.store.services.sessions.begin() as session:
        await ledger.write(session, "a", 1)
        with pytest.raises(Exception, match=r"(?i)duplicate|unique"):
            async with session.savepoint():
                await ledger.write(session, "a", 2)
        assert await session.commit(step(begun, 2), worker=actor.token) is Outcome.ACCEPTED

    assert await ledger.read("a") == 1


async def test_a_swallowed_statement_failure_dooms_the_session(actor: Actor, ledger: Ledger) -> None:
    """A9: some databases continue half way after an error; none may commit the rest."""
    if not actor.store.capabilities.sql:
        pytest.skip("capability: no SQL in sessions")
    begun = await actor.begin()

    async with actor.store.services.sessions.begin() as session:
        await ledger.write(session, "a", 1)
        with pytest.raises(Exception, match=r"(?i)duplicate|unique"):
            await ledger.write(session, "a", 2)
        with pytest.raises(UsageError):
            await session.commit(step(begun, 2), worker=actor.token)

    assert await ledger.read("a") is None
    assert len(await full_log(actor.store, begun.instance_id)) == 1


async def test_user_code_cannot_end_the_transaction(actor: Actor, ledger: Ledger) -> None:
    """A9: whether the store refuses it at once or finds it at the end, it writes no log row."""
    if not actor.store.capabilities.sql:
        pytest.skip("capability: no SQL in sessions")

    async def misuse(sql: str, begun: Append) -> None:
        async with actor.store.services.sessions.begin() as session:
            await ledger.write(session, sql, 1)
            await session.execute(sql)
            await session.commit(step(begun, 2), worker=actor.token)

    for sql in ("commit", "COMMIT; ", "rollback", "/* c */ commit"):
        begun = await actor.begin()
        with pytest.raises(UsageError):
            await misuse(sql, begun)

        assert len(await full_log(actor.store, begun.instance_id)) == 1, sql
        assert await actor.write(step(begun, 2)) is Outcome.ACCEPTED, sql


ENDINGS = ["commit", "COMMIT;", "  Commit ;", "/* c */ commit", "-- c\ncommit", "rollback", "/**/ RollBack", "begin"]


async def test_what_would_end_the_transaction_is_not_sent(actor: Actor, ledger: Ledger) -> None:
    """Every store refuses it in the same way, and the session continues as if it had not been asked."""
    if not actor.store.capabilities.sql:
        pytest.skip("capability: no SQL in sessions")
    begun, other = await actor.begin(), await actor.begin()

    async def misuse(session: StoreSession) -> None:
        await ledger.write(session, "a", 1)
        for send in (session.execute, session.fetch_all, partial(run_natively, session.native)):
            for sql in ENDINGS:
                with pytest.raises(UsageError, match="Romancy"):
                    await send(sql)

    async with actor.store.services.sessions.begin() as session:
        await misuse(session)
    assert await ledger.read("a") is None, "it was rolled back"

    async with actor.store.services.sessions.begin() as session:
        await misuse(session)
        assert await session.commit(step(begun, 2), worker=actor.token) is Outcome.ACCEPTED
    assert await ledger.read("a") == 1
    assert await actor.write(step(other, 2)) is Outcome.ACCEPTED


async def test_statements_side_by_side_are_refused(actor: Actor, ledger: Ledger) -> None:
    """The store runs the first statement and refuses the others with advice, and the session continues."""
    if not actor.store.capabilities.sql:
        pytest.skip("capability: no SQL in sessions")
    begun = await actor.begin()

    async with actor.store.services.sessions.begin() as session:
        await ledger.write(session, "a", 1)
        answers = await asyncio.gather(
            session.fetch_all("select 1 as one"),
            *(session.fetch_all("select 1 as one") for _ in range(3)),
            session.execute("select 1"),
            within_a_part(session),
            return_exceptions=True,
        )
        assert [{"one": 1}] == answers[0]
        for refused in answers[1:]:
            assert isinstance(refused, UsageError)
            assert "another of its statements" in str(refused)
        assert await session.commit(step(begun, 2), worker=actor.token) is Outcome.ACCEPTED

    assert await ledger.read("a") == 1


async def within_a_part(session: StoreSession) -> None:
    async with session.savepoint():
        pass


async def test_a_session_does_not_commit_beside_a_statement(actor: Actor, ledger: Ledger) -> None:
    if not actor.store.capabilities.sql:
        pytest.skip("capability: no SQL in sessions")
    begun = await actor.begin()

    async with actor.store.services.sessions.begin() as session:
        await ledger.write(session, "a", 1)
        beside = asyncio.create_task(session.fetch_all("select 1 as one"))
        await asyncio.sleep(0)  # it has begun
        with pytest.raises(UsageError, match="another of its statements"):
            await session.commit(step(begun, 2), worker=actor.token)

    await asyncio.wait([beside])
    beside.exception()
    assert await ledger.read("a") is None
    assert await actor.write(step(begun, 2)) is Outcome.ACCEPTED


async def test_a_part_that_cannot_be_undone_dooms_the_session(actor: Actor, ledger: Ledger) -> None:
    """The part fails while another statement runs, so the store cannot undo it."""
    if not actor.store.capabilities.sql:
        pytest.skip("capability: no SQL in sessions")
    begun = await actor.begin()

    async def fail_beside_a_statement(session: StoreSession) -> None:
        async with session.savepoint():
            await ledger.write(session, "inner", 1)
            tasks.append(asyncio.create_task(session.fetch_all("select 1 as one")))
            await asyncio.sleep(0)  # it has begun
            raise LookupError("inner")

    tasks: list[asyncio.Task[list[dict[str, object]]]] = []
    async with actor.store.services.sessions.begin() as session:
        with pytest.raises((LookupError, UsageError)):
            await fail_beside_a_statement(session)
        await asyncio.wait(tasks)
        with pytest.raises(UsageError):
            await session.commit(step(begun, 2), worker=actor.token)

    assert await ledger.read("inner") is None


EVASIONS = [
    "select 1; commit",
    "select 1; rollback",
    "commit and chain",
    "rollback and chain",
    "end",
    "abort",
    "begin",
    "start transaction",
    "-- a comment\ncommit",
    "set autocommit = 1",
    "release savepoint romancy",
    "rollback; begin; savepoint romancy",
]


async def test_log_and_writes_agree_however_the_transaction_was_ended(actor: Actor, ledger: Ledger) -> None:
    """A9: a store may refuse, detect or survive the statement; it never commits one half without the other."""
    if not actor.store.capabilities.sql:
        pytest.skip("capability: no SQL in sessions")
    for number, sql in enumerate(EVASIONS):
        begun, key = await actor.begin(), f"a{number}"
        outcome: Outcome | None = None

        async with actor.store.services.sessions.begin() as session:
            await ledger.write(session, key, 1)
            with contextlib.suppress(Exception):
                await session.execute(sql)
            with contextlib.suppress(UsageError):
                outcome = await session.commit(step(begun, 2), worker=actor.token)

        rows = await full_log(actor.store, begun.instance_id)
        if outcome is Outcome.ACCEPTED:
            assert (await ledger.read(key), len(rows)) == (1, 2), sql
        else:
            assert (outcome, len(rows)) == (None, 1), sql
            assert await actor.write(step(begun, 2)) is Outcome.ACCEPTED, sql


async def test_ddl_in_a_session_rolls_back_or_is_found_out(actor: Actor, ledger: Ledger) -> None:
    if not actor.store.capabilities.sql or actor.store.capabilities.transactional_ddl:
        pytest.skip("capability: DDL is transactional, or there is no SQL")
    begun = await actor.begin()

    async def misuse() -> None:
        async with actor.store.services.sessions.begin() as session:
            await ledger.write(session, "a", 1)
            await Ledger(actor.store).create()
            await session.execute("create table if not exists ddl_in_session (k integer)")
            await session.commit(step(begun, 2), worker=actor.token)

    with pytest.raises(UsageError):
        await misuse()

    assert len(await full_log(actor.store, begun.instance_id)) == 1


async def test_a_session_ends_once(actor: Actor) -> None:
    begun = await actor.begin()

    async with actor.store.services.sessions.begin() as session:
        assert await session.commit(step(begun, 2), worker=actor.token) is Outcome.ACCEPTED
        with pytest.raises(UsageError):
            await session.commit(step(begun, 3), worker=actor.token)


async def test_what_user_code_raises_by_itself_is_not_excused(actor: Actor) -> None:
    """A7: only an error that the database caused is not counted against the activity."""
    async with actor.store.services.sessions.begin() as session:
        for error in (ValueError("the user's"), OSError("of a network elsewhere"), TimeoutError()):
            assert session.excuse(error) is None


async def test_other_work_goes_on_while_a_session_is_open(actor: Actor, ledger: Ledger) -> None:
    """Reads never wait for user code; heartbeats do not either where a database has more than one writer."""
    begun = await actor.begin()

    async with actor.store.services.sessions.begin() as session:
        await ledger.read_in(session, "a")
        history = await actor.store.read(begun.instance_id)
        assert history is not None
        if not actor.store.capabilities.embedded:
            assert (await asyncio.wait_for(actor.store.heartbeat(actor.worker), 60)).alive
        assert await session.commit(step(begun, 2), worker=actor.token) is Outcome.ACCEPTED

    assert (await actor.store.heartbeat(actor.worker)).alive


async def test_a_joined_session_never_commits(actor: Actor, ledger: Ledger) -> None:
    kept, dropped = start(), start()

    async with actor.store.services.sessions.begin() as outer:
        await ledger.write(outer, "a", 1)
        async with actor.store.services.sessions.join(
            outer.native if actor.store.capabilities.sql else outer
        ) as joined:
            assert await joined.commit(dropped) is Outcome.ACCEPTED

    assert await actor.store.read(dropped.instance_id) is None
    assert await ledger.read("a") is None

    begun = await actor.begin()
    async with actor.store.services.sessions.begin() as outer:
        await ledger.write(outer, "a", 2)
        async with actor.store.services.sessions.join(
            outer.native if actor.store.capabilities.sql else outer
        ) as joined:
            assert await joined.commit(kept) is Outcome.ACCEPTED
            assert await joined.commit(kept) is Outcome.ACCEPTED
        assert await outer.commit(step(begun, 2), worker=actor.token) is Outcome.ACCEPTED

    assert await actor.store.read(kept.instance_id) is not None
    assert await ledger.read("a") == 2


async def test_a_refusal_in_a_joined_session_leaves_the_callers_work(actor: Actor, ledger: Ledger) -> None:
    begun = await actor.begin()

    async with actor.store.services.sessions.begin() as outer:
        await ledger.write(outer, "a", 1)
        async with actor.store.services.sessions.join(
            outer.native if actor.store.capabilities.sql else outer
        ) as joined:
            assert await joined.commit(start(begun.instance_id)) is Outcome.EXISTS
        assert await outer.commit(step(begun, 2), worker=actor.token) is Outcome.ACCEPTED

    assert await ledger.read("a") == 1


async def test_messages_in_a_joined_session_go_with_the_callers_commit(actor: Actor, ledger: Ledger) -> None:
    begun, target = await actor.begin(), await actor.begin()
    mail = delivery(target)
    outgoing = OutboxRow(outbox_id=unique("o"), topic="t", body=b"{}")

    async with (
        actor.store.services.sessions.begin() as outer,
        actor.store.services.sessions.join(joinable(actor, outer)) as joined,
    ):
        assert await joined.send([delivery(target)], [outgoing]) == [Delivered.ACCEPTED]
    assert outgoing.outbox_id not in {row.outbox_id for row in await actor.store.services.outbox.read(1000)}

    async with actor.store.services.sessions.begin() as outer:
        await ledger.write(outer, "a", 1)
        async with actor.store.services.sessions.join(joinable(actor, outer)) as joined:
            answers = await joined.send([mail, mail, delivery(unique("nobody"))], [outgoing])
        assert await outer.commit(step(begun, 2), worker=actor.token) is Outcome.ACCEPTED

    assert answers == [Delivered.ACCEPTED, Delivered.DUPLICATE, Delivered.UNKNOWN]
    assert [outgoing] == [
        row for row in await actor.store.services.outbox.read(1000) if row.outbox_id == outgoing.outbox_id
    ]
    assert [mail.delivery_id] == [row.delivery_id for row in await mail_of(actor, target.instance_id)]


async def mail_of(actor: Actor, instance_id: str) -> list[InboxRow]:
    """Return the mail of an instance that this worker owns, once it is counted, by a sweep at the latest."""
    async with asyncio.timeout(60):
        while True:
            request = ClaimRequest(worker=actor.token, codes=actor.workflows, limit=0, sweep=True)
            for box in (await actor.store.claim(request)).mail:
                if box.instance_id == instance_id:
                    return box.rows
            await actor.store.wait_for_work(0.2)


async def test_a_joined_session_sends_to_what_it_has_started(actor: Actor, ledger: Ledger) -> None:
    begun, new = await actor.begin(), start()

    async with actor.store.services.sessions.begin() as outer:
        async with actor.store.services.sessions.join(joinable(actor, outer)) as joined:
            assert await joined.commit(new) is Outcome.ACCEPTED
            assert await joined.send([delivery(new)]) == [Delivered.ACCEPTED]
        assert await outer.commit(step(begun, 2), worker=actor.token) is Outcome.ACCEPTED

    assert await actor.store.read(new.instance_id) is not None


async def test_mail_in_an_open_transaction_holds_up_nobody(actor: Actor, ledger: Ledger) -> None:
    """A5, A7: the receiver continues, and may even end, while the sender's transaction is open."""
    if actor.store.capabilities.embedded:
        pytest.skip("capability: one writer at a time")
    target = await actor.begin()

    async with actor.store.services.sessions.begin() as outer:
        async with actor.store.services.sessions.join(joinable(actor, outer)) as joined:
            assert await joined.send([delivery(target)]) == [Delivered.ACCEPTED]
        step = append(target, 2, change=change(Status.WAITING, seen=0))
        assert await actor.store.commit([step], worker=actor.token) == [Outcome.ACCEPTED], "and not LOCKED"


async def test_a_closed_instance_takes_no_mail_in_a_joined_session(actor: Actor) -> None:
    begun = await actor.begin()
    assert await actor.write(append(begun, 2, change=change(Status.COMPLETED))) is Outcome.ACCEPTED

    async with (
        actor.store.services.sessions.begin() as outer,
        actor.store.services.sessions.join(joinable(actor, outer)) as joined,
    ):
        assert await joined.send([delivery(begun)]) == [Delivered.CLOSED]


async def test_what_cannot_be_joined_is_refused(actor: Actor) -> None:
    async def join(thing: object) -> None:
        async with actor.store.services.sessions.join(thing) as joined:
            await joined.commit(start())

    for thing in (42, "a connection", actor.store):
        with pytest.raises(UsageError):
            await join(thing)
