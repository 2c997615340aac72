"""Entities: objects with a key, whose calls are carried out one at a time and answered once."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from romancy import (
    EntityCircleError,
    InstanceConflictError,
    InstanceEndedError,
    RegistrationError,
    RequestFailedError,
    RequestRefusedError,
    RequestTimeoutError,
    Romancy,
    SerializationError,
    Status,
    UsageError,
    WorkflowContext,
    ZlibCodec,
    activity,
    entity,
    entity_context,
    workflow,
)
from romancy.core import RequestAnswered
from romancy.entity import LINGERS
from romancy_conformance.behaviour.coded import Masking
from romancy_conformance.behaviour.waiting import status_is, until

if TYPE_CHECKING:
    from romancy.core import LogEvent
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

KEY = "7"
ID = "ent-cart:7"

at_work: list[str] = []
most_at_work: list[int] = []
apps: list[Romancy] = []


@pytest.fixture(autouse=True)
def forget() -> None:
    """Clear the records of the test before."""
    at_work.clear()
    most_at_work.clear()
    apps.clear()
    LINGERS.set(300.0)


@activity
async def ent_price(item: str) -> int:
    at_work.append(item)
    most_at_work.append(len(at_work))
    await asyncio.sleep(0)
    at_work.remove(item)
    return len(item)


@activity
async def ent_for_ever() -> None:
    at_work.append("for ever")
    await asyncio.sleep(600)


@activity
async def ent_once() -> None:
    """Come to no end before another attempt is made."""
    at_work.append("once")
    if len(at_work) == 1:
        await asyncio.sleep(600)


@activity
async def ent_calls(kind: str, key: str) -> str:
    """Call an entity from an activity."""
    (app,) = apps
    try:
        return await app.entity(EntCaller, key).back(kind) if kind != "itself" else await _itself(app, key)
    except (EntityCircleError, RequestFailedError) as error:
        return f"{type(error).__name__}: {error}"


async def _itself(app: Romancy, key: str) -> str:
    return await app.entity(EntCaller, key).out("nobody", key)


@entity("ent-cart")
@dataclass
class EntCart:
    """A cart."""

    items: list[str] = field(default_factory=list[str])
    worth: int = 0

    async def add(self, item: str, *, times: int = 1) -> int:
        price = await ent_price(item)
        self.items += times * [item]
        self.worth += times * price
        return len(self.items)

    async def spoil(self) -> None:
        self.items.append("spoilt")
        await ent_price("spoilt")
        raise LookupError("it is spoilt")

    async def put_in_what_cannot_be_stored(self) -> None:
        self.items.append(3)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]

    async def say_what_cannot_be_stored(self) -> int:
        self.items.append("said")
        return "three"  # type: ignore[return-value] # pyright: ignore[reportReturnType]

    async def wait_for_ever(self) -> None:
        await ent_for_ever()

    async def wait_once(self) -> list[str]:
        self.items.append("waited")
        await ent_once()
        return self.items

    async def clear(self, *, fails: bool = False) -> str:
        entity_context().destroy()
        if fails:
            raise LookupError("not now")
        return entity_context().key

    def first(self) -> str:
        return self.items[0]


@entity("ent-count")
class EntCount(msgspec.Struct):
    """A number."""

    number: int = 0

    async def up(self) -> int:
        self.number += 1
        return self.number


@entity("ent-caller")
@dataclass
class EntCaller:
    """Calls others by an activity."""

    calls: int = 0

    async def out(self, kind: str, key: str) -> str:
        self.calls += 1
        return await ent_calls(kind, key)

    async def back(self, kind: str) -> str:
        """Calls the first one."""
        return f"{kind}: {await ent_calls('itself', 'one')}"


@workflow
async def ent_other(ctx: WorkflowContext) -> None:
    await ctx.sleep(600)


@pytest.fixture
def workflows() -> list[Any]:
    """All entities of this file."""
    return [
        EntCart,
        EntCount,
        EntCaller,
        ent_other,
    ]


async def answers_of(app: Romancy, instance_id: str) -> list[LogEvent]:
    found = [entry.event async for entry in app.entries_of(instance_id)]
    return [event for event in found if isinstance(event, RequestAnswered)]


async def test_a_call_begins_an_entity_and_the_next_one_finds_its_state(app: Romancy) -> None:
    cart = app.entity(EntCart, KEY)
    handle = app.entity_handle(EntCart, KEY)
    assert await handle.state() is None

    assert await cart.add("lamp") == 1
    assert await cart.add("desk", times=2) == 3
    assert await app.entity(EntCart, "8").add("chair") == 1

    assert await handle.state() == EntCart(["lamp", "desk", "desk"], 12)
    state = await handle.state()
    assert state is not None
    assert state.first() == "lamp"
    assert handle.instance_id == ID
    assert await app.entity_handle(EntCart, "8").state() == EntCart(["chair"], 5)


async def test_an_entity_at_rest_replays_nothing_but_its_state(app: Romancy) -> None:
    for _ in range(3):
        await app.entity(EntCart, KEY).add("lamp")
    await status_is(app, ID, Status.WAITING)

    assert ["WorkflowStarted", "MessageAwaited"] == [type(event).__name__ for event in await app.history(ID)][-2:]
    instance = await app.get_instance(ID)
    assert instance is not None
    assert instance.input == {"key": KEY, "state": {"items": 3 * ["lamp"], "worth": 12}, "lingers": 0.0}


async def test_a_hundred_callers_of_one_key_are_served_one_at_a_time(open_app: Open, app: Romancy) -> None:
    other = await open_app()
    calls = [(app, other)[number % 2].entity(EntCart, KEY).add(f"item {number:02}") for number in range(100)]

    assert sorted(await asyncio.gather(*calls)) == list(range(1, 101))
    state = await app.entity_handle(EntCart, KEY).state()
    assert state is not None
    assert sorted(state.items) == [f"item {number:02}" for number in range(100)]
    assert 100 == len(most_at_work)
    assert 1 == max(most_at_work)


async def test_a_caller_without_a_worker_is_answered(open_app: Open, storage_url: str) -> None:
    sender = await open_app(worker=False)
    asked = await sender.entity_handle(EntCount, KEY).ask(EntCount.up)
    with pytest.raises(RequestTimeoutError):
        await sender.entity(EntCount, KEY, timeout=0.05).up()

    async with Romancy(storage_url, workflows=[EntCount]):
        assert await asked.reply(timeout=30) == 1
        assert await sender.entity(EntCount, KEY).up() == 3


async def test_the_same_id_is_carried_out_once_and_finds_the_same_answer(open_app: Open, app: Romancy) -> None:
    sender = await open_app(worker=False)
    one = app.entity(EntCart, KEY, id="w-1").add("lamp")
    two = sender.entity(EntCart, KEY, id="w-1").add("lamp")

    assert [1, 1] == list(await asyncio.gather(one, two))
    assert await app.entity(EntCart, KEY).add("desk") == 2
    assert await sender.entity(EntCart, KEY, id="w-1").add("desk") == 1
    with pytest.raises(RequestFailedError, match="spoilt"):
        await sender.entity(EntCart, KEY, id="w-1").spoil()
    assert 3 == len(await answers_of(app, ID))
    LINGERS.set(0.001)
    await app.entity_handle(EntCart, KEY).destroy()
    await status_is(app, ID, Status.COMPLETED)
    assert await sender.entity(EntCart, KEY, id="w-1").add("desk") == 1


@pytest.mark.parametrize(
    ("method", "told"),
    [
        ("spoil", "LookupError: it is spoilt"),
        ("put_in_what_cannot_be_stored", r"items\[1\]"),
        ("say_what_cannot_be_stored", "int"),
    ],
)
async def test_an_error_is_the_answer_and_leaves_the_state(app: Romancy, method: str, told: str) -> None:
    cart = app.entity(EntCart, KEY)
    await cart.add("lamp")

    with pytest.raises(RequestFailedError, match=told):
        await getattr(cart, method)()

    assert await app.entity_handle(EntCart, KEY).state() == EntCart(["lamp"], 4)
    assert await cart.add("desk") == 2


async def test_the_first_call_may_fail(app: Romancy) -> None:
    with pytest.raises(RequestFailedError, match="spoilt") as failed:
        await app.entity(EntCart, KEY).spoil()
    assert isinstance(failed.value.__cause__, LookupError)

    assert await app.entity_handle(EntCart, KEY).state() is None
    assert await app.entity(EntCart, KEY).add("lamp") == 1


async def test_a_wrong_call_is_refused_before_anything_is_sent(app: Romancy) -> None:
    cart: Any = app.entity(EntCart, KEY)

    with pytest.raises(SerializationError, match="item"):
        await cart.add(3)
    with pytest.raises(UsageError, match="item"):
        await cart.add()
    with pytest.raises(UsageError, match="first is no `async def`"):
        cart.first()
    with pytest.raises(UsageError, match="nothing does not exist; calls of it are add, "):
        await cart.nothing()
    with pytest.raises(UsageError, match="is no call of EntCart"):
        await app.entity_handle(EntCart, KEY).ask(EntCount.up)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    with pytest.raises(UsageError, match="is no entity"):
        app.entity(Romancy, KEY)
    for key in ("", 7):
        with pytest.raises(UsageError, match="the key of an entity is a text"):
            app.entity(EntCart, key)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    assert await app.get_instance(ID) is None


async def test_what_the_receiver_does_not_know_is_refused_and_not_recorded(app: Romancy) -> None:
    await app.entity(EntCart, KEY).add("lamp")

    wrong: list[tuple[Any, str]] = [
        ({"method": "sing", "args": {}}, "EntCart.sing does not exist"),
        ({"method": "add", "args": {"item": 3}}, "item"),
        ("nonsense", "object"),
    ]
    for data, told in wrong:
        with pytest.raises(RequestRefusedError, match=told):
            await app.request(ID, "ent-cart", data)

    assert 1 == len(await answers_of(app, ID))
    assert await app.entity(EntCart, KEY).add("lamp") == 2


@pytest.mark.parametrize("end", ["cancel", "terminate"])
async def test_who_calls_an_entity_that_was_stopped_is_told(app: Romancy, end: str) -> None:
    await app.entity(EntCart, KEY).add("lamp")
    waiting = asyncio.create_task(app.entity(EntCart, KEY).wait_for_ever())
    await until(lambda: at_work)
    asked = await app.entity_handle(EntCart, KEY).ask(EntCart.add, "desk")

    await getattr(app, end)(ID)

    for call in (waiting, asyncio.create_task(asked.reply())):
        with pytest.raises(InstanceEndedError):
            await call
    with pytest.raises(InstanceEndedError, match="has ended"):
        await app.entity(EntCart, KEY).add("lamp")
    assert await app.entity_handle(EntCart, KEY).state() == EntCart(["lamp"], 4)


async def test_an_entity_that_was_cancelled_at_rest_goes_on_after_a_retry(app: Romancy) -> None:
    await app.entity(EntCart, KEY).add("lamp")
    await app.cancel(ID)
    await status_is(app, ID, Status.CANCELLED)

    await app.retry(ID)

    assert await app.entity(EntCart, KEY).add("desk") == 2


async def test_an_id_of_another_workflow_is_named(app: Romancy) -> None:
    await app.start(ent_other.options(instance_id=ID))

    with pytest.raises(InstanceConflictError, match="ent_other"):
        await app.entity(EntCart, KEY).add("lamp")
    assert await app.entity_handle(EntCart, KEY).state() is None


async def test_a_method_goes_on_at_the_next_worker(open_app: Open, storage_url: str) -> None:
    sender = await open_app(worker=False)
    async with Romancy(storage_url, workflows=[EntCart], drain_timeout=0):
        asked = await sender.entity_handle(EntCart, KEY).ask(EntCart.wait_once)
        await until(lambda: at_work)

    async with Romancy(storage_url, workflows=[EntCart]):
        assert await asked.reply(timeout=30) == ["waited"]


async def test_arguments_results_and_states_are_sealed(storage_url: str) -> None:
    options: dict[str, Any] = {"workflows": [EntCart], "codecs": [ZlibCodec(), Masking()]}
    async with Romancy(storage_url, **options) as app, Romancy(storage_url, **options, worker=False) as sender:
        assert await sender.entity(EntCart, KEY, id="a").add("lamp") == 1
        assert await app.entity(EntCart, KEY).add("desk") == 2
        assert await sender.entity(EntCart, KEY, id="a").add("lamp") == 1
        assert await sender.entity_handle(EntCart, KEY).state() == EntCart(["lamp", "desk"], 8)


# ── the end ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("lingers", [0.001, 300.0])
async def test_what_is_destroyed_begins_anew(app: Romancy, lingers: float) -> None:
    handle = app.entity_handle(EntCart, KEY)
    LINGERS.set(lingers)
    await handle.destroy()  # there is nothing yet
    await app.entity(EntCart, KEY).add("lamp")

    await handle.destroy()
    assert await handle.state() is None
    await status_is(app, ID, Status.COMPLETED if lingers < 1 else Status.WAITING)
    assert await handle.state() is None
    assert await app.entity(EntCart, KEY).add("desk") == 1
    assert await handle.state() == EntCart(["desk"], 4)


async def test_a_method_destroys_its_entity_unless_it_fails(app: Romancy) -> None:
    cart, handle = app.entity(EntCart, KEY), app.entity_handle(EntCart, KEY)
    LINGERS.set(0.001)
    await cart.add("lamp")

    with pytest.raises(RequestFailedError, match="not now"):
        await cart.clear(fails=True)
    assert await handle.state() == EntCart(["lamp"], 4)
    assert await cart.clear() == KEY
    await status_is(app, ID, Status.COMPLETED)
    assert await cart.add("desk") == 1


async def test_no_call_is_lost_at_the_end(app: Romancy) -> None:
    """Each call is answered, whether it comes before the end, at it or after it."""
    answers: list[int] = []

    async def call(number: int) -> None:
        if number % 5 == 0:
            await app.entity_handle(EntCount, KEY).destroy()
        else:
            answers.append(await app.entity(EntCount, KEY).up())

    for _ in range(10):
        await asyncio.gather(*(call(number) for number in range(20)))

    assert 160 == len(answers)
    assert set(answers) <= set(range(1, 17))


# ── circles ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_circle_is_refused_before_it_is_sent(app: Romancy) -> None:
    apps.append(app)

    told = await app.entity(EntCaller, "one").out("itself", "one")
    assert "EntityCircleError: ent-caller:one was called by what it waits for itself" in told
    told = await app.entity(EntCaller, "one").out("two", "two")
    assert told.startswith("two: EntityCircleError")
    assert "ent-caller:one → ent-caller:two → ent-caller:one" in told


# ── what cannot be an entity ────────────────────────────────────────────────────────────────────────────────────────


def test_what_cannot_be_an_entity_is_named() -> None:
    @dataclass
    class NeedsMore:
        name: str

        async def say(self) -> str:
            return self.name

    @dataclass
    class SaysNothing:
        name: str = ""

        def say(self) -> str:
            return self.name

    @dataclass
    class TakesAll:
        async def say(self, *words: str) -> str:
            return " ".join(words)

    class Plain:
        async def say(self) -> str:
            return ""

    for cls, told in (
        (NeedsMore, "every field needs a default"),
        (SaysNothing, "has no `async def`"),
        (TakesAll, r"\*words"),
        (Plain, "Plain"),
    ):
        with pytest.raises(RegistrationError, match=told):
            entity("ent-wrong")(cls)
    for name in ("", "a:b"):
        with pytest.raises(RegistrationError, match="colon"):
            entity(name)(NeedsMore)
    with pytest.raises(RegistrationError, match="above a class"):
        entity("ent-wrong")(test_what_cannot_be_an_entity_is_named)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    with pytest.raises(UsageError, match="only available in a method of an entity"):
        entity_context()
