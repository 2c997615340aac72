"""Activities that are methods: how an app finds those of the objects that a body reaches, and tells them apart."""

from __future__ import annotations

import gc
import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import pytest

from romancy import Activity, Workflow, WorkflowContext, activity, workflow
from romancy import registry as registry_module
from romancy.errors import RegistrationError
from romancy.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def nothing_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_module, "_declared", WeakValueDictionary[Any, Any]())


class Bank:
    def __init__(self, where: str = "here") -> None:
        self.where = where

    async def charge(self, amount: int) -> str:
        return f"{amount} {self.where}"


class Service:
    """Holds activities of its own methods, as attributes."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.work = activity(self._work, name="found.work")

    async def _work(self) -> str:
        return self.name

    async def through_a_method(self) -> str:
        return await self.work()

    @property
    def through_a_property(self) -> Activity[[], str]:
        return self.work


class Slots:
    __slots__ = ("deep",)

    def __init__(self, deep: Service) -> None:
        self.deep = deep


@dataclass(frozen=True)
class Services:
    slots: Slots
    several: dict[str, Service]


class Statically:
    held = Service("in a class")

    @staticmethod
    @activity(name="found.static")
    async def static() -> None: ...


def the_service(service: Service) -> list[Callable[[Any], Any]]:
    """Bodies that reach the activity of the service in different ways."""
    work = service.work
    services = Services(Slots(service), {"one": service})
    in_a_tuple = (service,)

    async def by_closure(ctx: WorkflowContext) -> str:
        return await work()

    async def by_attribute(ctx: WorkflowContext) -> str:
        return await service.work()

    async def by_slot(ctx: WorkflowContext) -> str:
        return await services.slots.deep.work()

    async def by_key(ctx: WorkflowContext) -> str:
        return await services.several["one"].work()

    async def by_index(ctx: WorkflowContext) -> str:
        return await in_a_tuple[0].work()

    async def by_method(ctx: WorkflowContext) -> str:
        return await service.through_a_method()

    async def by_property(ctx: WorkflowContext) -> str:
        return await service.through_a_property()

    return [by_closure, by_attribute, by_slot, by_key, by_index, by_method, by_property]


@pytest.mark.parametrize("way", range(7))
def test_an_app_finds_the_activity_however_the_body_reaches_it(nothing_declared: None, way: int) -> None:
    one, other = Service("one"), Service("other")
    mine: Workflow[[], str] = workflow(name="found")(the_service(one)[way])
    theirs: Workflow[[], str] = workflow(name="found_other")(the_service(other)[way])

    registry = Registry.collect([mine])
    assert registry.activities_of("found")["found.work"] is one.work
    assert Registry.collect([theirs]).activities_of("found_other")["found.work"] is other.work
    assert registry.activities == {}
    for both in ([mine, theirs], None):
        with pytest.raises(RegistrationError, match=r"methods of two objects .*'found\.work'"):
            Registry.collect(both)


def test_an_app_finds_what_a_class_holds(nothing_declared: None) -> None:
    @workflow(name="found_class")
    async def body(ctx: WorkflowContext) -> str:
        await Statically.static()
        return await Statically.held.work()

    other = Service("other")
    assert Registry.collect([body]).activities_of("found_class")["found.work"] is Statically.held.work is not other.work


def test_both_places_are_named(nothing_declared: None) -> None:
    one = Bank()
    other = Bank()
    first = activity(one.charge, name="m.twice")
    second = activity(name="m.twice")(other.charge)

    @workflow(name="m_both")
    async def both(ctx: WorkflowContext) -> None:
        await first(1)
        await second(1)

    with pytest.raises(RegistrationError) as caught:
        Registry.collect([both])
    told = str(caught.value)
    line = inspect.getsourcelines(test_both_places_are_named)[1]
    assert f"test_reaching.py, line {line + 3})" in told
    assert f"test_reaching.py, line {line + 4})" in told
    assert "a name of its own" in told


def test_one_object_may_be_declared_twice(nothing_declared: None) -> None:
    one = Bank()
    first = activity(one.charge, name="m.again")
    second = activity(one.charge, name="m.again")

    @workflow(name="m_again")
    async def again(ctx: WorkflowContext) -> None:
        await first(1)
        await second(1)

    assert Registry.collect([again]).activities["m.again"].fn == one.charge
    assert Registry.collect().activities["m.again"] is second


def test_a_loop_that_gives_two_objects_one_name_is_refused(nothing_declared: None) -> None:
    charges = {where: activity(Bank(where).charge, name="m.loop") for where in ("eu", "us")}

    @workflow(name="m_loop")
    async def body(ctx: WorkflowContext, where: str) -> str:
        return await charges[where](1)

    with pytest.raises(RegistrationError, match=r"two objects .*'m\.loop'"):
        Registry.collect([body])
    charges.update({where: activity(Bank(where).charge, name=f"m.loop.{where}") for where in ("eu", "us")})
    assert {"m.loop.eu", "m.loop.us"} <= Registry.collect([body]).activities.keys()


@pytest.mark.parametrize("named", [True, False])
def test_each_test_of_a_suite_makes_its_own_object(nothing_declared: None, *, named: bool) -> None:
    """What is left of the tests before is a cycle of garbage, or held by a traceback, and does not disturb."""
    held: list[object] = []
    gc.disable()
    try:
        for number in range(3):
            service = Service(str(number))
            body: Workflow[[], str] = workflow(name="found_suite")(the_service(service)[1])
            registry = Registry.collect([body] if named else None)
            assert registry.activities_of("found_suite")["found.work"] is service.work
            if number == 1:
                held.append(service)
    finally:
        gc.enable()


def test_what_is_not_reached_is_known_by_its_name_only_if_there_is_one_object(nothing_declared: None) -> None:
    one = Service("one")

    @workflow(name="found_none")
    async def reaches_nothing(ctx: WorkflowContext) -> None: ...

    assert Registry.collect([reaches_nothing]).activities["found.work"] is one.work
    other = Service("other")
    assert "found.work" not in Registry.collect([reaches_nothing]).activities
    assert "found.work" not in Registry.collect().activities
    del other
    assert Registry.collect([reaches_nothing]).activities["found.work"] is one.work


class Strange:
    """Its attributes run code, and must not."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(name)

    @property
    def __dict__(self) -> Any:  # type: ignore[override]
        raise AssertionError("__dict__")

    @property
    def work(self) -> Any:
        raise AssertionError("work")

    def __len__(self) -> int:
        raise AssertionError("len")


def test_looking_runs_no_code(nothing_declared: None) -> None:
    strange: Any = Strange()

    class Pair(tuple[Any, ...]):
        __slots__ = ()

        def __len__(self) -> int:
            raise AssertionError("len")

    pair: Any = Pair((Service("in a pair"),))

    @workflow(name="found_strange")
    async def body(ctx: WorkflowContext) -> None:
        await strange.work()
        await pair[0].work()

    assert "found.work" in Registry.collect([body]).activities_of("found_strange")
    assert body.code == body.code
