"""Methods of objects as activities, as with the configured instances of DBOS, and what happens on the next worker."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import pytest

from romancy import (
    ActivityContext,
    RetryPolicy,
    Romancy,
    Status,
    TerminalError,
    Workflow,
    WorkflowCancelledError,
    WorkflowContext,
    WorkflowFailedError,
    activity,
    activity_context,
    compensation,
    workflow,
)
from romancy_conformance.behaviour.waiting import status_is, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

told: list[str] = []
broken: set[str] = set()


@pytest.fixture(autouse=True)
def forget() -> None:
    """Clear the records of the test before."""
    told.clear()
    broken.clear()


@dataclass
class Receipt:
    number: str


class RefusedError(Exception):
    """The bank does not pay."""


class Billing:
    """Several activities on one object, which holds what its configuration says."""

    def __init__(self, region: str, currency: str) -> None:
        self.region = region
        self.currency = currency
        self.charge = activity(
            self._charge, name=f"billing.{region}.charge", compensation=self._refund, retry=RetryPolicy.fixed(50, 0.05)
        )
        self.look_up = activity(name=f"billing.{region}.look_up", timeout=60)(self._look_up)
        self.note = activity(self._note, name=f"billing.{region}.note", pass_context=True)
        self.cross_out = activity(self._cross_out, name=f"billing.{region}.cross_out")
        self.lazily = activity(self._lazily, name=f"billing.{region}.lazily", commit="lazy")

    async def _charge(self, amount: int, *, note: str = "") -> Receipt:
        told.append(f"charge {amount} {self.currency}")
        if "bank" in broken:
            raise ConnectionError("the bank does not answer")
        if "money" in broken:
            raise RefusedError
        return Receipt(f"{self.region}-{amount}{note}")

    async def _refund(self, result: Receipt, amount: int, *, note: str = "") -> None:
        told.append(f"refund {result.number} in {self.currency}")

    def _look_up(self, customer: str) -> str:
        return f"{customer} of {self.region}"

    async def _note(self, ctx: ActivityContext, text: str) -> None:
        await ctx.session()
        told.append(f"note {text} {self.region} {ctx.activity_id == activity_context().activity_id}")

    def _cross_out(self, text: str) -> None:
        told.append(f"cross out {text} in {self.region}")

    async def _lazily(self, text: str) -> str:
        return f"{text} in {self.region}"

    @classmethod
    def rate(cls, amount: int) -> str:
        """What all regions share."""
        return f"{cls.__name__} {amount}"


europe = Billing("eu", "EUR")
america = Billing("us", "USD")
rate = activity(Billing.rate, name="billing.rate")
charge_in_europe = europe.charge
at_home = {"us": america}


@workflow
async def me_orders(ctx: WorkflowContext, amount: int) -> list[str]:
    one, two = await asyncio.gather(charge_in_europe(amount), america.charge(amount, note="!"))
    await europe.note("a")
    return [one.number, two.number, await europe.look_up("Ann"), await at_home["us"].look_up("Bob"), await rate(3)]


async def test_two_objects_of_a_class_with_different_configuration(storage_url: str) -> None:
    async with Romancy(storage_url, workflows=[me_orders]) as app:
        assert await app.run(me_orders, 7) == ["eu-7", "us-7!", "Ann of eu", "Bob of us", "Billing 3"]

    assert sorted(told) == ["charge 7 EUR", "charge 7 USD", "note a eu True"]


@workflow
async def me_saga(ctx: WorkflowContext) -> None:
    await europe.charge(1)
    await america.charge(2)
    ctx.on_undo(europe.cross_out, await europe.lazily("x"))
    await ctx.wait_event("go")
    raise TerminalError("no truck")


UNDONE = ["cross out x in eu in eu", "refund us-2 in USD", "refund eu-1 in EUR"]


async def test_methods_undo_what_methods_of_their_object_did(open_app: Open, storage_url: str) -> None:
    async with Romancy(storage_url, workflows=[me_saga]) as app:
        await app.start(me_saga.options(instance_id="s"))
        await status_is(app, "s", Status.WAITING)
    app = await open_app(workflows=[me_saga])
    await app.signal("s", "go")
    with pytest.raises(WorkflowFailedError):
        await app.handle("s").result(timeout=60)

    assert told[2:] == UNDONE


@workflow
async def me_catches(ctx: WorkflowContext) -> str:
    try:
        await europe.charge.options(retry=RetryPolicy.none())(1)
    except RefusedError:
        return "refused"
    return "paid"


async def test_an_error_of_the_methods_module_is_caught_by_its_class(storage_url: str) -> None:
    broken.add("money")
    async with Romancy(storage_url, workflows=[me_catches]) as app:
        assert await app.run(me_catches) == "refused"


# ── the program of a worker, which makes its own object ─────────────────────────────────────────────────────────


class Service:
    """A service with its workflow, as a factory makes it in each process."""

    def __init__(self, where: str, name: str = "service.work") -> None:
        self.where = where
        self.work = activity(self._work, name=name, compensation=self._undo, retry=RetryPolicy.fixed(50, 0.05))

        @workflow(name="me_served")
        async def served(ctx: WorkflowContext, text: str) -> str:
            done = await self.twice(text)
            if text == "wait":
                await ctx.wait_event("go")
            return done

        self.served: Workflow[[str], str] = served

    async def twice(self, text: str) -> str:
        """A step of the body, which calls the activity."""
        return f"{await self.work(text)} {await self.work(text)}"

    async def _work(self, text: str) -> str:
        told.append(f"{text} at {self.where}")
        if "work" in broken:
            raise ConnectionError("not now")
        return self.where

    async def _undo(self, text: str) -> None:
        told.append(f"undo {text} at {self.where}")


async def trouble(app: Romancy, instance_id: str) -> str:
    """Return the reason why the instance is stuck."""
    found = await app.get_instance(instance_id)
    return str(found.error) if found is not None else ""


HERE = pytest.mark.unreplayable("its workflow is a closure of an object that the test makes")


@HERE
async def test_the_next_worker_runs_it_on_its_own_object(open_app: Open, storage_url: str) -> None:
    broken.add("work")
    first = Service("first")
    async with Romancy(storage_url, workflows=[first.served]) as app:
        await app.start(first.served.options(instance_id="w"), "a")
        await until(lambda: told.count("a at first") > 1)
    broken.clear()
    told.clear()
    second = Service("second")
    app = await open_app(workflows=[second.served])

    assert await app.handle("w").result(timeout=60) == "second second"
    assert told == ["a at second"] * 2


@HERE
async def test_it_is_undone_on_the_object_of_the_app_without_the_code(open_app: Open, storage_url: str) -> None:
    first = Service("first")
    async with Romancy(storage_url, workflows=[first.served]) as app:
        await app.start(first.served.options(instance_id="w"), "wait")
        await status_is(app, "w", Status.WAITING)
    second = Service("second")
    bystander = Service("a bystander that no workflow of the app reaches")

    @workflow(name="me_served")
    async def later(ctx: WorkflowContext, text: str) -> None:
        await ctx.sleep(1)
        await second.work(text)

    app = await open_app(workflows=[later])
    await app.signal("w", "go")
    await status_is(app, "w", Status.STUCK)
    told.clear()
    await app.cancel("w")
    with pytest.raises(WorkflowCancelledError):
        await app.handle("w").result(timeout=60)

    assert told == ["undo wait at second"] * 2
    assert bystander.work.name == second.work.name


@HERE
async def test_a_worker_without_the_object_names_what_it_lacks(
    open_app: Open, storage_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Service("first", "service.gone")
    async with Romancy(storage_url, workflows=[first.served]) as app:
        await app.start(first.served.options(instance_id="w"), "wait")
        await status_is(app, "w", Status.WAITING)
    monkeypatch.setattr(
        "romancy.registry._declared", WeakValueDictionary[Any, Any]()
    )  # another process declared nothing

    @workflow(name="me_served")
    async def without(ctx: WorkflowContext, text: str) -> None:
        await ctx.sleep(1)

    app = await open_app(workflows=[without])
    await app.signal("w", "go")
    await status_is(app, "w", Status.STUCK)

    assert "the log says:      activity service.gone" in await trouble(app, "w")
    await app.cancel("w")

    async def named() -> bool:
        return "does not know the activities service.gone" in await trouble(app, "w")

    await until(named)


# ── two objects under one name ──────────────────────────────────────────────────────────────────────────────────


class Hidden:
    """Holds its activity where reading the code does not find it, once somebody has asked for it."""

    def __init__(self, where: str) -> None:
        self._where = where

    def found(self) -> Any:
        place = "at " + self._where
        if place not in vars(self):
            undo = compensation(self.undo, name="hidden.undo")
            setattr(self, place, activity(self.book, name="hidden.book", compensation=undo))
        return getattr(self, place)

    def forget(self) -> None:
        delattr(self, "at " + self._where)

    async def book(self) -> None:
        told.append(f"book {self._where}")

    async def undo(self) -> None:
        told.append(f"undo {self._where}")


hidden = (Hidden("one"), Hidden("other"))


@workflow
async def me_hides(ctx: WorkflowContext, *, both: bool) -> None:
    await hidden[0].found()()
    if both:
        await hidden[1].found()()
    raise TerminalError("no truck")


@pytest.fixture
def _hidden_ones() -> Iterator[None]:
    """Two activities of one name during one test alone: while there are any, each new app collects garbage."""
    for each in hidden:
        each.found()
    yield
    for each in hidden:
        each.forget()


@pytest.mark.usefixtures("_hidden_ones")
@pytest.mark.parametrize("both", [False, True])
async def test_an_undo_never_runs_on_the_other_object(storage_url: str, *, both: bool) -> None:
    async with Romancy(storage_url, workflows=[me_hides]) as app:
        handle = await app.start(me_hides.options(instance_id="h"), both=both)
        if both:
            await status_is(app, "h", Status.STUCK)
            assert "two objects run as the activity 'hidden.book'" in await trouble(app, "h")
        else:
            with pytest.raises(WorkflowFailedError, match="no truck"):
                await handle.result(timeout=60)
            assert told == ["book one", "undo one"]
