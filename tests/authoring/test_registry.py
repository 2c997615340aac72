"""The declared definitions that an app sees."""

from __future__ import annotations

import gc
import re
from typing import Any
from weakref import WeakValueDictionary

import pytest

from romancy import Activity, WorkflowContext, activity, compensation, workflow
from romancy import registry as registry_module
from romancy.errors import RegistrationError
from romancy.registry import Registry


@pytest.fixture(autouse=True)
def _nothing_declared_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_module, "_declared", WeakValueDictionary[Any, Any]())


def make(name: str, answer: int) -> Activity[[], int]:
    @activity(name=name)
    async def made() -> int:
        return answer

    return made


def test_declarations_are_collected_by_name() -> None:
    @compensation
    async def registry_undo() -> None: ...

    @activity(compensation=registry_undo)
    async def registry_step() -> None: ...

    @workflow
    async def registry_order(ctx: WorkflowContext) -> None: ...

    registry = Registry.collect()
    assert registry.workflows["registry_order"] is registry_order
    assert registry.activities["registry_step"] is registry_step
    assert registry.compensations["registry_undo"] is registry_undo


def test_the_same_function_declared_again_replaces_the_former() -> None:
    first = make("registry_again", 1)
    second = make("registry_again", 2)
    assert Registry.collect().activities["registry_again"] is second
    assert first.fn is not second.fn


def test_two_functions_under_one_name_are_refused_when_an_app_looks() -> None:
    def declare_both() -> str:
        @activity(name="registry_twice")
        async def one() -> None: ...

        @activity(name="registry_twice")
        async def other() -> None: ...

        assert one is not other
        try:
            Registry.collect()
        except RegistrationError as error:
            return str(error)
        return "no error"

    assert re.search(r"registry_twice.*locals>\.(one|other) and .*locals>\.(one|other)", declare_both())
    gc.collect()
    assert "registry_twice" not in Registry.collect().activities


def test_an_app_can_be_narrowed_to_some_workflows() -> None:
    @workflow
    async def registry_one(ctx: WorkflowContext) -> None: ...

    @workflow
    async def registry_two(ctx: WorkflowContext) -> None: ...

    registry = Registry.collect([registry_one])
    assert registry.workflows == {"registry_one": registry_one}
    assert registry_two.name not in registry.workflows


def test_what_nobody_refers_to_is_forgotten() -> None:
    def declare_and_leave() -> None:
        @workflow
        async def registry_passing(ctx: WorkflowContext) -> None: ...

        assert registry_passing.name in Registry.collect().workflows

    declare_and_leave()
    gc.collect()
    assert "registry_passing" not in Registry.collect().workflows


def test_options_are_no_declaration() -> None:
    step: Activity[[], Any] = make("registry_options", 1)
    optioned = step.options(id="x")
    assert Registry.collect().activities["registry_options"] is step is not optioned


def test_a_narrowed_app_does_not_mind_names_it_cannot_tell_apart() -> None:
    @activity(name="registry_same")
    async def one() -> None: ...

    @activity(name="registry_same")
    async def other() -> None: ...

    @workflow
    async def registry_narrow(ctx: WorkflowContext) -> None:
        await one()
        await other()

    registry = Registry.collect([registry_narrow])
    assert registry.activities == {}
    assert list(registry.workflows) == ["registry_narrow"]


def test_of_two_activities_of_one_name_a_workflow_means_the_one_that_its_code_names() -> None:
    @activity(name="registry_same")
    async def mine() -> None: ...

    @activity(name="registry_same")
    async def other() -> None: ...

    @activity(name="registry_shared")
    async def shared() -> None: ...

    @workflow
    async def registry_mine(ctx: WorkflowContext) -> None:
        await mine()

    @workflow
    async def registry_others(ctx: WorkflowContext) -> None:
        await other()

    @workflow
    async def registry_neither(ctx: WorkflowContext) -> None: ...

    registry = Registry.collect([registry_mine, registry_others, registry_neither])
    assert registry.activities_of("registry_mine") == {"registry_same": mine, "registry_shared": shared}
    assert registry.activities_of("registry_others") == {"registry_same": other, "registry_shared": shared}
    assert registry.activities_of("registry_neither") == registry.activities == {"registry_shared": shared}


def test_two_of_one_name_in_one_workflow_stand_for_neither() -> None:
    """The workflow's code may use the name for something else, so the call raises no error."""

    @compensation
    async def registry_undo_one() -> None: ...

    @activity(name="registry_same", compensation=registry_undo_one)
    async def one() -> None: ...

    @activity(name="registry_same")
    async def other() -> None: ...

    @workflow
    async def registry_both(ctx: WorkflowContext) -> None:
        await one()
        await other()

    assert Registry.collect([registry_both]).activities_of("registry_both") == {}


class Unready:
    """As a proxy is whose object is made when somebody first asks for anything of it."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError("the settings are not there yet")


unready = Unready()


class RegistryError(Exception):
    """What a workflow may catch as itself."""


def test_what_stands_in_a_module_is_asked_nothing_when_errors_are_looked_for() -> None:
    @activity
    async def registry_step() -> None: ...

    @workflow
    async def registry_flow(ctx: WorkflowContext) -> object:
        await registry_step()
        return unready

    assert f"{__name__}.RegistryError" in Registry.collect([registry_flow]).errors
