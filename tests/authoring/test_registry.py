"""The declared definitions that an app sees."""

from __future__ import annotations

import gc
import re
from typing import Any
from weakref import WeakValueDictionary

import pytest

from romancy import Activity, Workflow, WorkflowContext, activity, compensation, workflow
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


def test_a_narrowed_app_does_not_mind_a_name_that_it_does_not_reach() -> None:
    @activity(name="registry_same")
    async def one() -> None: ...

    @activity(name="registry_same")
    async def other() -> None: ...

    @workflow
    async def registry_narrow(ctx: WorkflowContext) -> None:
        await one()

    registry = Registry.collect([registry_narrow])
    assert registry.activities == {}
    assert registry.activities_of("registry_narrow") == {"registry_same": one}
    assert other.name == "registry_same"


def test_two_places_of_one_name_are_refused_where_an_app_reaches_both() -> None:
    """A deploy that removes one of them would leave the other in its place."""

    @activity(name="registry_same")
    async def mine() -> None: ...

    @activity(name="registry_same")
    async def other() -> None: ...

    @workflow
    async def registry_mine(ctx: WorkflowContext) -> None:
        await mine()

    @workflow
    async def registry_others(ctx: WorkflowContext) -> None:
        await other()

    @workflow
    async def registry_both(ctx: WorkflowContext) -> None:
        await mine()
        await other()

    assert Registry.collect([registry_mine]).activities_of("registry_mine") == {"registry_same": mine}
    assert Registry.collect([registry_others]).activities_of("registry_others") == {"registry_same": other}
    for reaching in ([registry_mine, registry_others], [registry_both]):
        with pytest.raises(RegistrationError, match=r"activity 'registry_same'.*locals>\.(mine|other) and .*locals>"):
            Registry.collect(reaching)


def test_compensations_of_one_name_are_refused_as_activities_are() -> None:
    def undos() -> tuple[Any, Any]:
        @compensation(name="registry_undo")
        async def one() -> None: ...

        @compensation(name="registry_undo")
        async def other() -> None: ...

        return one, other

    undo_one, undo_other = undos()

    @activity(compensation=undo_one)
    async def registry_take() -> None: ...

    @activity(compensation=undo_other)
    async def registry_keep() -> None: ...

    @workflow
    async def registry_saga(ctx: WorkflowContext) -> None:
        await registry_take()
        await registry_keep()

    with pytest.raises(RegistrationError, match=r"compensation 'registry_undo'.*locals>\.(one|other) and"):
        Registry.collect([registry_saga])


def test_a_child_of_another_place_is_refused() -> None:
    """The child would run the code of the workflow that the app has under its name."""

    @workflow(name="registry_child")
    async def child(ctx: WorkflowContext) -> None: ...

    @workflow(name="registry_child")
    async def stub(ctx: WorkflowContext) -> None: ...

    @workflow
    async def registry_parent(ctx: WorkflowContext) -> None:
        await stub()

    with pytest.raises(RegistrationError, match=r"workflow 'registry_child'.*locals>\.(child|stub) and"):
        Registry.collect([registry_parent, child])
    assert set(Registry.collect([registry_parent]).workflows) == {"registry_parent"}


def test_a_loop_and_a_factory_declare_many_names_in_one_place() -> None:
    made: list[Workflow[[], str]] = []
    steps: list[Activity[[], str]] = []
    for number in range(3):

        @activity(name=f"registry_step_{number}")
        async def step() -> str:
            return ""

        @workflow(name=f"registry_loop_{number}")
        async def body(ctx: WorkflowContext) -> str:
            return ""

        made.append(body)
        steps.append(step)
    kept = [make("registry_f1", 1), make("registry_f2", 2)]

    registry = Registry.collect()
    assert {one.name: one for one in made}.items() <= registry.workflows.items()
    assert {one.name: one for one in (*steps, *kept)}.items() <= registry.activities.items()


def test_one_place_may_declare_a_name_anew_with_another_function() -> None:
    """As a cell of a notebook that is changed and runs again."""

    def cell(answer: int) -> Workflow[[], int]:
        @workflow
        async def registry_cell(ctx: WorkflowContext) -> int:
            return answer

        return registry_cell

    first, second = cell(1), cell(2)

    name = second.name
    assert Registry.collect().workflows[name] is second
    assert Registry.collect([first]).workflows[name] is first
    with pytest.raises(RegistrationError, match="registry_cell"):
        Registry.collect([first, second])


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
