"""Names that a loop, a factory and two modules declare, in apps that take everything and in apps that take some."""

from __future__ import annotations

import importlib
import sys
import textwrap
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import pytest

from romancy import RegistrationError, Romancy, Workflow, WorkflowContext, activity, registry, workflow

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import ModuleType

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.unreplayable("its workflows are declared inside of a test"),
]


@pytest.fixture(autouse=True)
def _nothing_declared_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_declared", WeakValueDictionary[Any, Any]())


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[ModuleType, ModuleType]]:
    """Two modules of a shop that know nothing of each other and use the same names."""
    for letter in "ab":
        (tmp_path / f"named_shop_{letter}.py").write_text(
            textwrap.dedent(
                f"""
                from romancy import WorkflowContext, activity, compensation, workflow

                @compensation
                async def undo(x: int) -> None: ...

                @activity(compensation=undo)
                async def charge(x: int) -> str:
                    return f"{letter.upper()}{{x}}"

                @workflow
                async def order_{letter}(ctx: WorkflowContext, x: int) -> str:
                    return await charge(x)

                @workflow
                async def refund(ctx: WorkflowContext, x: int) -> str:
                    return "{letter}"

                @workflow
                async def parent_{letter}(ctx: WorkflowContext, x: int) -> str:
                    return await refund(x)
                """
            )
        )
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    importlib.invalidate_caches()
    yield importlib.import_module("named_shop_a"), importlib.import_module("named_shop_b")
    for letter in "ab":
        sys.modules.pop(f"named_shop_{letter}", None)


async def test_an_app_knows_all_that_a_loop_and_a_factory_declare(storage_url: str) -> None:
    made: list[Workflow[[], str]] = []
    for number in range(3):

        @workflow(name=f"named_loop_{number}")
        async def body(ctx: WorkflowContext) -> str:
            return ctx.workflow_name

        made.append(body)

    def make(name: str) -> Workflow[[], str]:
        @activity(name=f"{name}_step")
        async def inner_step() -> str:
            return name

        @workflow(name=name)
        async def inner(ctx: WorkflowContext) -> str:
            return await inner_step()

        return inner

    made += [make("named_f_1"), make("named_f_2")]

    async with Romancy(storage_url) as app:
        assert [one.name for one in made] == sorted(set(app.workflows), key=[one.name for one in made].index)
        assert [one.name for one in made] == [await app.run(one) for one in made]
        assert "named_f_2" == await app.run("named_f_2")


@pytest.mark.parametrize("named", ["order", "parent"])
async def test_two_modules_that_declare_one_name_are_refused(
    storage_url: str, modules: tuple[ModuleType, ModuleType], named: str
) -> None:
    first, second = modules
    reached: list[Any] = [getattr(first, f"{named}_a"), getattr(second, f"{named}_b")]
    if named == "parent":
        reached.append(first.refund)
    kind = {"order": "activity 'charge'", "parent": "workflow 'refund'"}[named]

    with pytest.raises(RegistrationError, match=f"{kind}: named_shop_[ab].* and named_shop_[ab]"):
        async with Romancy(storage_url, workflows=reached):
            pass
    with pytest.raises(RegistrationError, match=r"named_shop_[ab].* and named_shop_[ab]"):
        async with Romancy(storage_url):
            pass


async def test_an_app_that_reaches_one_of_them_uses_it(
    storage_url: str, modules: tuple[ModuleType, ModuleType]
) -> None:
    first, second = modules
    async with Romancy(storage_url, workflows=[first.order_a, first.parent_a, first.refund]) as app:
        assert ("A1", "a") == (await app.run(first.order_a, 1), await app.run(first.parent_a, 1))
    async with Romancy(storage_url, workflows=[second.order_b]) as app:
        assert "B2" == await app.run(second.order_b, 2)


@pytest.mark.parametrize("who", ["worker", "client"])
async def test_a_start_of_the_other_one_is_refused(
    storage_url: str, modules: tuple[ModuleType, ModuleType], who: str
) -> None:
    """The instance would begin with one code and be replayed with the other one."""
    first, second = modules
    async with Romancy(storage_url, workflows=[first.refund], worker=who == "worker") as app:
        with pytest.raises(RegistrationError, match=r"workflow 'refund': named_shop_a.* and named_shop_b"):
            await app.start(second.refund, 1)
        with pytest.raises(RegistrationError, match="refund"):
            await app.signal_with_start(second.refund.options(instance_id="r").bind(1), "go")
        assert [] == (await app.list_instances()).instances


async def test_a_module_that_is_loaded_again_replaces_its_names(
    storage_url: str, modules: tuple[ModuleType, ModuleType]
) -> None:
    first, second = modules
    for name in ("undo", "charge", "order_b", "refund", "parent_b"):
        delattr(second, name)
    before = first.order_a
    importlib.reload(first)

    async with Romancy(storage_url) as app:
        assert app.workflows["order_a"] is first.order_a is not before
        assert "A1" == await app.run(before, 1)
        assert "A2" == await app.run(first.order_a, 2)
