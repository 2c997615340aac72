"""What each feature costs in round trips: a commit takes one, whatever it carries, and a step of a feature so many.

A proxy counts what is sent to the server. Heartbeats and claims may fall into a count and only add to it, so the least
of a few is the cost.
"""

# Only an open app has a store that knows its server.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import itertools
import re
from contextlib import asynccontextmanager
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import pytest

from romancy import Channel, Romancy, WorkflowContext, activity, activity_context, workflow
from romancy.status import Status
from romancy.storage.backends import create_store
from romancy.storage.records import OutboxRow, Step
from romancy_conformance.behaviour.cast import returns
from romancy_conformance.behaviour.waiting import until
from romancy_conformance.contract.building import Actor, change, delivery, next_row, start, unique
from romancy_conformance.contract.routing.scenes import posting, take
from romancy_conformance.proxy import Direction, Fault, Proxy

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from romancy.storage.records import Append

pytestmark = [pytest.mark.anyio, pytest.mark.backends("postgres", "mysql", "mariadb")]

ROUNDS: Final = 3
MOST_ROUNDS: Final = 8
"""A loaded machine takes longer for a workflow, so more of what a worker does now and then falls into each count."""
FEW, MANY = 10, 40
News = Channel("news", int)
_NEWS: Final = re.compile(rb"romancy_work(?!ers)|force index \(touched\)")
"""The name of PostgreSQL's channel of notifications, and the look at what others have written, on MySQL and MariaDB."""


class Requests:
    """Counts what passes a proxy to the server, and lets it pass."""

    count = 0
    news = 0
    """How many of them tell others of a commit or ask for the commits of others, on a connection of their own."""

    def sees(self, direction: Direction, data: bytes) -> bool:
        if direction is Direction.TO_SERVER:
            self.count += 1
            self.news += _NEWS.search(data) is not None
        return False

    @property
    def commits(self) -> int:
        """The requests without news of commits."""
        return self.count - self.news


@pytest.fixture
def network(backend: str, has_server: Callable[[str], bool]) -> None:
    """Skip where there is no network."""
    if not has_server(backend):
        pytest.skip("capability: there is no network between a worker and its database")


@asynccontextmanager
async def counted(url: str) -> AsyncGenerator[tuple[str, Requests]]:
    """The URL of the database behind a proxy, and what it counts."""
    parts = urlsplit(url)
    requests = Requests()
    with Proxy(parts.hostname or "", parts.port or 0) as proxy:
        proxy.when(requests.sees, Fault.CUT)
        yield proxy.url(url), requests


# ── commits ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def mail_for(actor: Actor, instance_id: str) -> tuple[str, ...]:
    one = delivery(instance_id)
    await actor.store.deliver([one])
    return (one.delivery_id,)


async def carried(actor: Actor, what: str) -> Step | Append:
    """An append that carries this, ready to be committed."""
    begun, other = await actor.begin(), await actor.begin()
    outbox = OutboxRow(outbox_id=unique("o"), topic="t", body=b"{}")
    wait = change(Status.WAITING, release=True)
    fields: dict[str, dict[str, Any]] = {
        "nothing": {},
        "a wait": {"change": wait},
        "mail taken": {"consumed": await mail_for(actor, begun.instance_id)},
        "an event for outside": {"outbox": (outbox,)},
        "a message": {"deliveries": (delivery(other),)},
        "an event once": {"deliveries": (delivery(other, dedupe=unique("k")),)},
        "a child": {"starts": (start(),)},
        "an interest": {"interests": (take(unique("k")),)},
        "an interest less": {"uninterested": ("none",)},
        "a post": {"postings": (posting(unique("k"), dedupe=unique("d")),)},
        "a new run": {"change": change(run_from=2, input=b"{}", index=(("n", "s:1"),))},
    }
    if what != "everything":
        return next_row(begun, 2, **fields[what])
    together: dict[str, Any] = {name: value for kind in fields.values() for name, value in kind.items()}
    together["change"] = change(run_from=2, release=True, status=Status.RUNNING)
    return next_row(begun, 2, **together)


CARRIED: Final = (
    "nothing",
    "a wait",
    "mail taken",
    "an event for outside",
    "a message",
    "an event once",
    "a child",
    "an interest",
    "an interest less",
    "a post",
    "a new run",
    "everything",
)


@pytest.mark.usefixtures("network")
async def test_a_commit_is_one_round_trip_whatever_it_carries(storage_url: str) -> None:
    async with counted(storage_url) as (url, requests):
        store = create_store(url)
        await store.open()
        actor = await Actor(store, workflows={unique("flow"): "c1"}).register()
        costs: dict[str, int] = {}
        for what in CARRIED:
            await actor.write(await carried(actor, what))  # one-time work is done here
            counts: list[int] = []
            for _ in range(ROUNDS):
                batch = [await carried(actor, what) for _ in range(2)]
                before = requests.commits
                assert {"accepted"} == set(await store.commit(batch, worker=actor.token))
                counts.append(requests.commits - before)
            costs[what] = min(counts)
        await store.close()

    assert costs == dict.fromkeys(CARRIED, 1)


# ── messages from outside ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.usefixtures("network")
async def test_an_id_costs_a_message_no_round_trip(storage_url: str) -> None:
    async with counted(storage_url) as (url, requests), Romancy(url, workflows=[trip_waits], worker=False) as app:
        handle = await app.start(trip_waits.options(delay=3600), 1)
        costs = dict[str, float]()
        for number in range(MOST_ROUNDS):  # one-time work is done in the first round
            id = f"id {number}"
            calls: dict[str, Callable[[], Awaitable[object]]] = {
                "a signal": partial(handle.signal, "note"),
                "a signal once": partial(handle.signal, "note", id=id),
                "an event to it once": partial(app.send, "note", to=handle.instance_id, source="/s", id=id),
                "the same again": partial(app.send, "note", to=handle.instance_id, source="/s", id=id),
            }
            for name, call in calls.items():
                before = requests.commits
                await call()
                costs[name] = min(costs.get(name, inf), requests.commits - before)
            if number and all(cost <= (3 if name == "the same again" else 1) for name, cost in costs.items()):
                break

    again = costs.pop("the same again")
    assert costs == dict.fromkeys(costs, 1)
    assert again <= 3, "a refusal may be undone and explained"


# ── steps ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@activity
async def trip_step(number: int) -> int:
    return number


@activity(commit="lazy")
async def trip_lazily(number: int) -> int:
    return number


@activity
async def trip_session(number: int) -> int:
    session = await activity_context().session()
    return int((await session.fetch_all("select 1 as one"))[0]["one"]) + number


@activity
async def trip_sends(to: str) -> None:
    await activity_context().send("note", to=to)


@workflow
async def trip_waits(ctx: WorkflowContext, count: int) -> None:
    for _ in range(count):
        await ctx.wait_event("note")


@workflow
async def trip_takes(ctx: WorkflowContext, count: int) -> None:
    for number in range(count):
        await ctx.wait_event("keyed", key=str(number))


@workflow
async def trip_listens(ctx: WorkflowContext, count: int) -> None:
    news = ctx.channel(News)
    await news.subscribe()
    for _ in range(count):
        await news.receive()


async def publishes(ctx: WorkflowContext, number: int, _: str) -> None:
    await ctx.publish("outside", number)
    await trip_step(number)


async def sends(ctx: WorkflowContext, number: int, to: str) -> None:
    await ctx.send("note", to=to)
    await trip_step(number)


async def sends_by_key(ctx: WorkflowContext, number: int, _: str) -> None:
    await ctx.send("keyed", key=str(number))
    await trip_step(number)


async def sends_on_a_channel(ctx: WorkflowContext, number: int, _: str) -> None:
    await ctx.channel(News).publish(number)
    await trip_step(number)


FEATURES: Final[dict[str, Callable[[WorkflowContext, int, str], Awaitable[object]]]] = {
    "step": lambda _, number, __: trip_step(number),
    "lazy step": lambda _, number, __: trip_lazily(number),
    "session": lambda _, number, __: trip_session(number),
    "timer": lambda ctx, _, __: ctx.sleep(0.001),
    "child": lambda _, __, ___: returns(),
    "publish": publishes,
    "send": sends,
    "send by an activity": lambda _, __, to: trip_sends(to),
    "event by key": sends_by_key,
    "channel": sends_on_a_channel,
}


@workflow
async def trips(ctx: WorkflowContext, what: str, steps: int, to: str = "") -> None:
    for number in range(steps):
        await FEATURES[what](ctx, number, to)


RECEIVING: Final = {
    "signal": trip_waits,
    "send": trip_waits,
    "send by an activity": trip_waits,
    "event by key": trip_takes,
    "channel": trip_listens,
}
POSTGRES: Final = {
    "step": 1.2,
    "lazy step": 0.5,
    "session": 6.5,
    "timer": 1.3,
    "child": 10,
    "publish": 1.3,
    "signal": 5,
    "send": 7,
    "send by an activity": 7,
    "event by key": 16,
    "channel": 9,
}
MYSQL: Final = {
    "step": 1.2,
    "lazy step": 0.5,
    "session": 6.5,
    "timer": 1.3,
    "child": 16,
    "publish": 1.3,
    "signal": 5,
    "send": 6.5,
    "send by an activity": 6,
    "event by key": 16,
    "channel": 6,
}
"""Most round trips of a step of each feature, of all that take part in it, with what a worker does now and then and
without the looks for news, of which there are more the longer it takes.
"""


async def trips_of(app: Romancy, requests: Requests, what: str, steps: int) -> int:
    """Return the round trips of a workflow of so many steps, and of the one that receives what it sends."""
    before = requests.commits
    receiver = await app.start(RECEIVING[what], steps) if what in RECEIVING else None
    to = "" if receiver is None else receiver.instance_id
    if what == "channel":
        await until(lambda: has_members(app))
    if what == "signal":
        for number in range(steps):
            await app.signal(to, "note", number)
    else:
        await app.run(trips, what, steps, to)
    if receiver is not None:
        await receiver.result(timeout=60)
    return requests.commits - before


async def has_members(app: Romancy) -> bool:
    return bool(await app.channel(News).members())


@pytest.mark.long
@pytest.mark.usefixtures("network")
async def test_a_step_of_each_feature(storage_url: str, backend: str) -> None:
    bounds = POSTGRES if backend == "postgres" else MYSQL
    costs: dict[str, float] = {}
    async with (
        counted(storage_url) as (url, requests),
        Romancy(url, workflows=[trips, returns, trip_waits, trip_takes, trip_listens]) as app,
    ):
        if app._access.opened().capabilities.name.endswith("Galera"):
            bounds = bounds | {"session": 8}  # over a connection of its own
        for what, bound in bounds.items():
            await trips_of(app, requests, what, FEW)  # one-time work is done here
            cost, rounds = inf, 0
            while rounds < ROUNDS or (cost > bound and rounds < MOST_ROUNDS):
                few, many = [await trips_of(app, requests, what, steps) for steps in (FEW, MANY)]
                cost = min(cost, (many - few) / (MANY - FEW))
                rounds += 1
            costs[what] = cost
    print(f"round trips of a step: {costs}")

    assert {what: cost for what, cost in costs.items() if cost > bounds[what]} == {}


# ── starts ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.usefixtures("network")
async def test_a_start_with_a_chosen_id_asks_once_whether_it_is_taken(storage_url: str) -> None:
    """One request more than a start whose id Romancy makes, also for fifty at once."""
    ids = itertools.count()

    async def request_of(app: Romancy, requests: Requests, count: int, *, chosen: bool) -> int:
        wf = returns.options(delay=0)
        calls = [(wf.options(instance_id=f"chosen-{next(ids)}") if chosen else wf).bind() for _ in range(count)]
        before = requests.commits
        await app.start_many(calls)
        return requests.commits - before

    async with counted(storage_url) as (url, requests), Romancy(url, workflows=[returns]) as app:
        costs: dict[tuple[int, bool], int] = {}
        for count in (1, 50):
            for chosen in (False, True):
                await request_of(app, requests, count, chosen=chosen)  # one-time work is done here
                counts = [await request_of(app, requests, count, chosen=chosen) for _ in range(5 * ROUNDS)]
                costs[count, chosen] = min(counts)

    assert {(count, False): costs[count, True] - 1 for count in (1, 50)} == {
        (count, False): costs[count, False] for count in (1, 50)
    }
