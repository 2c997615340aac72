"""First drives: what a workflow's code decides up to its first wait is written with its start, by one commit."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from romancy import (
    EventType,
    InstanceConflictError,
    Romancy,
    Status,
    WorkflowContext,
    WorkflowFailedError,
    activity,
    workflow,
)
from romancy.hooks import Hook, Sending
from romancy.storage.records import Append
from romancy_conformance.behaviour.cast import returns
from romancy_conformance.behaviour.stores import WrappedStore, wrap_stores

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.storage.protocol import Store
    from romancy.storage.records import Item, Outcome

pytestmark = pytest.mark.anyio

GO = EventType("first-go", str)
_runs: list[str] = []
"""The bodies that began, in this process."""


@pytest.fixture(autouse=True)
def no_runs() -> None:
    _runs.clear()


class Recording(WrappedStore):
    """Records the items of all commits."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.batches: list[Sequence[Item]] = []

    async def commit(self, batch: Sequence[Item], /, *, worker: str | None = None) -> list[Outcome]:
        outcomes = await self._store.commit(batch, worker=worker)
        self.batches.append(batch)
        return outcomes

    def items_of(self, instance_id: str) -> list[Item]:
        return [item for batch in self.batches for item in batch if item.instance_id == instance_id]


@activity
async def first_noted(what: str) -> str:
    return what


@workflow
async def first_waits(ctx: WorkflowContext, key: str) -> str:
    _runs.append(ctx.instance_id)
    return (await ctx.wait_event(GO, key=key)).data


@workflow
async def first_sleeps(ctx: WorkflowContext) -> str:
    _runs.append(ctx.instance_id)
    await ctx.sleep(timedelta(hours=1))
    return "slept"


@workflow
async def first_begins_much(ctx: WorkflowContext) -> list[str]:
    _runs.append(ctx.instance_id)
    await ctx.subscribe(GO)
    await ctx.publish("topic", {"n": 1})
    children = [await ctx.start(returns.options(instance_id=f"{ctx.instance_id}-{n}"), str(n)) for n in (1, 2)]
    return [await child.result() for child in children] + [await first_noted("after")]


@workflow
async def first_takes(ctx: WorkflowContext, child: str) -> Any:
    _runs.append(ctx.instance_id)
    try:
        return await returns.options(instance_id=child)("mine")
    except WorkflowFailedError:
        return "taken"


@workflow
async def first_recurs(ctx: WorkflowContext, left: int) -> str:
    if left:
        return first_recurs.recur(left - 1)
    return await first_noted("done")


@workflow
async def first_sends_to_itself(ctx: WorkflowContext) -> str:
    _runs.append(ctx.instance_id)
    await ctx.send("first-own", "hello", to=ctx.instance_id)
    return (await ctx.wait_event(EventType("first-own", str))).data


@workflow
async def first_ring(ctx: WorkflowContext, to: str) -> str:
    await ctx.send("first-passed", ctx.instance_id, to=to)
    return (await ctx.wait_event(EventType("first-passed", str))).data


@workflow
async def first_gives_up(ctx: WorkflowContext, left: int) -> str:
    try:
        await returns.options(instance_id=ctx.instance_id)("it has the id of its parent")
    except WorkflowFailedError:
        return first_gives_up.recur(left - 1) if left else "done"
    return "never"


@workflow
async def first_publishes(ctx: WorkflowContext, key: str) -> str:
    await ctx.publish("first-topic", {"n": 1})
    return (await ctx.wait_event(GO, key=key)).data


class Sent(Hook):
    """Counts what hooks are told of."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def sending(self, message: Sending, /) -> dict[str, str]:
        return {}

    def sent(self, message: Sending, /) -> None:
        self.names.append(message.name)


WORKFLOWS: Any = [
    returns, first_waits, first_sleeps, first_begins_much, first_takes, first_recurs, first_sends_to_itself,
    first_ring, first_gives_up, first_publishes,
]  # fmt: skip


async def rests(app: Romancy, instance_id: str) -> None:
    async with asyncio.timeout(30):
        while await app.handle(instance_id).status() is not Status.WAITING:  # noqa: ASYNC110 - no event tells this
            await asyncio.sleep(0.01)


async def test_a_start_that_waits_runs_once_and_is_one_commit(
    storage_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = wrap_stores(monkeypatch, Recording)
    names = [f"w-{number}" for number in range(12)]
    async with Romancy(storage_url, workflows=WORKFLOWS) as app:
        await app.start_many([first_waits.options(instance_id=name).bind(name) for name in names])
        for name in names:
            await rests(app, name)
        written = [len(made[0].items_of(name)) for name in names]
        begun = sorted(_runs)
        for name in names:
            await app.send(GO, name, key=name)
        answers = [await app.handle(name).result(timeout=30) for name in names]

    assert (begun, written, answers) == (sorted(names), [1] * 12, names)


async def test_a_start_that_sleeps_is_one_commit(storage_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = wrap_stores(monkeypatch, Recording)
    async with Romancy(storage_url, workflows=WORKFLOWS) as app:
        await app.start(first_sleeps.options(instance_id="s"))
        await rests(app, "s")

        (item,) = made[0].items_of("s")
        row = await app.get_instance("s")

    assert isinstance(item, Append)
    assert item.change is not None
    assert row is not None
    assert (_runs, item.change.release, row.status) == (["s"], True, Status.WAITING)


async def test_a_start_carries_children_interests_and_messages(
    storage_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = wrap_stores(monkeypatch, Recording)
    async with Romancy(storage_url, workflows=WORKFLOWS) as app:
        handle = await app.start(first_begins_much.options(instance_id="m"))

        assert await handle.result(timeout=30) == ["1", "2", "after"]

        first = made[0].items_of("m")[0]
    assert isinstance(first, Append)
    assert first.seq == 1
    assert len(first.starts) + len(first.interests) + len(first.outbox) > 1
    assert _runs == ["m"]


async def test_what_two_starts_of_one_batch_want_is_given_to_one(storage_url: str) -> None:
    """Both name the same child. The other one is told, and neither start fails."""
    async with Romancy(storage_url, workflows=WORKFLOWS) as app:
        handles = await app.start_many(
            [first_takes.options(instance_id=f"t-{number}").bind("wanted") for number in range(5)]
        )
        answers = sorted([await handle.result(timeout=30) for handle in handles])

    assert answers == ["mine", "taken", "taken", "taken", "taken"]


async def test_a_start_whose_child_cannot_be_begins_all_the_same(
    storage_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The run meets the conflict, as at any later time. Nobody reads of an error."""
    async with Romancy(storage_url, workflows=WORKFLOWS) as app:
        await app.run(returns.options(instance_id="there"), "theirs")

        answer = await app.run(first_takes.options(instance_id="t"), "there")

        history = await app.get_instance("t")
    assert history is not None
    assert (answer, history.status) == ("taken", Status.COMPLETED)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_a_second_start_of_an_id_leaves_nothing(storage_url: str) -> None:
    async with Romancy(storage_url, workflows=WORKFLOWS) as app:
        await app.start(first_sleeps.options(instance_id="one"))

        with pytest.raises(InstanceConflictError):
            await app.start(first_begins_much.options(instance_id="one"))

        rows = await app.list_instances()
    assert [row.instance_id for row in rows.instances] == ["one"]


async def test_a_run_that_continues_as_new_at_once(storage_url: str) -> None:
    async with Romancy(storage_url, workflows=WORKFLOWS) as app:
        assert await app.run(first_recurs.options(instance_id="r"), 3) == "done"

        assert await app.start(first_recurs.options(instance_id="r"), 3, if_exists="return") is not None


async def test_a_message_to_itself_is_received(storage_url: str) -> None:
    async with Romancy(storage_url, workflows=WORKFLOWS) as app:
        assert await app.run(first_sends_to_itself.options(instance_id="self")) == "hello"


async def test_messages_between_instances_that_are_started_together_arrive(storage_url: str) -> None:
    names = [f"r{number}" for number in range(30)]
    async with Romancy(storage_url, workflows=WORKFLOWS) as app:
        calls = [
            first_ring.options(instance_id=one).bind(to) for one, to in zip(names, names[1:] + names[:1], strict=True)
        ]
        handles = await app.start_many(calls)

        answers = [await handle.result(timeout=60) for handle in handles]

    assert answers == names[-1:] + names[:-1]


async def test_a_refusal_that_makes_the_run_continue_as_new_is_no_error_of_the_start(storage_url: str) -> None:
    async with Romancy(storage_url, workflows=WORKFLOWS) as app:
        assert await app.run(first_gives_up.options(instance_id="g"), 2) == "done"


async def test_hooks_hear_of_what_was_written_and_of_nothing_else(storage_url: str) -> None:
    """Two apps start the same ids. Each message is sent by the one whose start is in."""
    hooks = Sent(), Sent()
    names = [f"p{number}" for number in range(10)]
    async with (
        Romancy(storage_url, workflows=WORKFLOWS, hooks=[hooks[0]]) as one,
        Romancy(storage_url, workflows=WORKFLOWS, hooks=[hooks[1]]) as other,
    ):
        for name in names:
            calls = [app.start(first_publishes.options(instance_id=name), name) for app in (one, other)]
            await asyncio.gather(*calls)
        for name in names:
            await rests(one, name)
            await one.send(GO, name, key=name)
        for name in names:
            assert await other.handle(name).result(timeout=30) == name

    assert sum(hook.names.count("first-topic") for hook in hooks) == len(names)


async def test_a_start_does_not_wait_for_a_child_that_another_transaction_begins(storage_url: str) -> None:
    """The start is written at once. Its run waits, as at any later time."""
    async with Romancy(storage_url, workflows=WORKFLOWS) as app:
        store: Any = app._access.opened()  # pyright: ignore[reportPrivateUsage]
        if store.capabilities.embedded:
            pytest.skip("capability: while a transaction writes, nobody else does")
        async with store.services.sessions.begin() as session:
            await app.start(returns.options(instance_id="held"), "theirs", session=session.native)
            handle = await asyncio.wait_for(app.start(first_takes.options(instance_id="t"), "held"), 20)

        assert await handle.result(timeout=60) == "mine", "the transaction was not committed"


async def test_one_batch_starts_a_parent_and_the_instance_that_it_wants_as_a_child(storage_url: str) -> None:
    async with Romancy(storage_url, workflows=WORKFLOWS) as app:
        handles = await app.start_many(
            [
                first_takes.options(instance_id="t").bind("both"),
                returns.options(instance_id="both").bind("mine"),
            ]
        )

        assert [await handle.result(timeout=30) for handle in handles] in (["mine", "mine"], ["taken", "mine"])
