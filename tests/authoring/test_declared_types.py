"""Types are checked where they are declared, at the latest when an app opens: before any money has moved."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

import msgspec
import pydantic
import pytest

from romancy import Romancy, Workflow, WorkflowContext, WorkflowType, activity, workflow
from romancy.attempt_context import ActivityContext  # noqa: TC001 - it is looked for when the types are
from romancy.errors import RegistrationError

pytestmark = pytest.mark.anyio


@dataclass
class Cat:
    name: str


@dataclass
class Dog:
    name: str


@dataclass
class Bird:
    name: str
    kind: Literal["bird"] = "bird"


@dataclass
class Fish:
    name: str
    kind: Literal["fish"] = "fish"


class CatModel(pydantic.BaseModel):
    name: str


class DogModel(pydantic.BaseModel):
    name: str


class Point(NamedTuple):
    x: int
    y: int


class Size(NamedTuple):
    width: int
    height: int


class TaggedCat(msgspec.Struct, tag=True):
    name: str


class TaggedDog(msgspec.Struct, tag=True):
    name: str


async def stores_a_path(path: Path) -> None: ...
async def returns_a_path() -> Path:
    return Path()


async def stores_a_union(pet: list[Cat | Dog]) -> None: ...
async def stores_a_model(pet: CatModel | DogModel | None) -> None: ...
async def stores_a_tuple(shape: Point | Size) -> None: ...


@pytest.mark.parametrize(
    ("fn", "why"),
    [
        (stores_a_path, "parameter 'path' of activity 'stores_a_path'.*pathlib.Path cannot be read back"),
        (returns_a_path, "result of activity 'returns_a_path'.*pathlib.Path cannot be read back"),
        (stores_a_tuple, "Point and .*Size have the same fields"),
    ],
)
def test_a_type_that_cannot_be_stored_is_refused_by_the_decorator(fn: Any, why: str) -> None:
    with pytest.raises(RegistrationError, match=why):
        activity(fn)


def test_a_workflow_is_refused_likewise() -> None:
    with pytest.raises(RegistrationError, match=r"parameter 'path' of workflow 'walk'.*cannot be stored"):

        @workflow
        async def walk(ctx: WorkflowContext, path: Path) -> None: ...


async def tells_apart(pet: Bird | Fish, other: TaggedCat | TaggedDog, third: Cat | Bird) -> None: ...


@pytest.mark.parametrize("fn", [tells_apart, stores_a_union, stores_a_model])
def test_classes_that_are_told_apart_are_none_the_worse(fn: Any) -> None:
    assert activity(fn).name == fn.__name__


async def no_context(items: list[str]) -> None: ...
async def of_a_union(items: list[str] | None) -> None: ...
async def wrong_context(ctx: ActivityContext) -> None: ...


@pytest.mark.parametrize("fn", [no_context, of_a_union, wrong_context])
def test_a_workflow_without_its_context_is_refused(fn: Any) -> None:
    with pytest.raises(
        RegistrationError, match=r"its first parameter is the WorkflowContext.*put `ctx: WorkflowContext`"
    ):
        workflow(fn)


def test_an_activity_without_its_context_is_refused() -> None:
    decorator: Any = activity(pass_context=True)
    with pytest.raises(RegistrationError, match=r"its first parameter is the ActivityContext, .* and 'items'"):
        decorator(no_context)


if TYPE_CHECKING:
    NeverImported = WorkflowContext
    Later = Any


class LikeContext(Protocol):
    def now(self) -> object: ...


class OwnContext(WorkflowContext):
    __slots__ = ()


async def loosely(ctx: Any) -> None: ...
async def by_protocol(ctx: LikeContext) -> None: ...
async def by_subclass(ctx: OwnContext) -> None: ...
async def for_type_checkers(ctx: NeverImported) -> None: ...


@pytest.mark.parametrize("fn", [loosely, by_protocol, by_subclass, for_type_checkers])
def test_a_context_may_be_declared_in_other_ways(fn: Any) -> None:
    assert workflow(fn).signature.leading == ("ctx",)


def of_what_comes_later() -> Workflow[..., Any]:
    """Return a workflow whose activity names a type that is defined after it, or never."""

    @activity
    async def keeps(thing: Later) -> None: ...

    async def helps() -> None:
        await keeps(None)

    @workflow
    async def of_later(ctx: WorkflowContext) -> None:
        await keeps(None)
        await helps()

    return of_later


@pytest.mark.parametrize(
    ("later", "why"),
    [
        (None, "the type of the parameter 'thing' of activity 'keeps' cannot be found.*import it outside"),
        (Path, "parameter 'thing' of activity 'keeps'.*pathlib.Path cannot be read back"),
    ],
    ids=["nowhere", "not to be stored"],
)
async def test_what_could_not_be_found_is_looked_for_when_the_app_opens(
    later: Any, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    defined = of_what_comes_later()
    if later is not None:
        monkeypatch.setitem(globals(), "Later", later)

    with pytest.raises(RegistrationError, match=why):
        async with Romancy("memory://", workflows=[defined]):
            pass


async def test_what_is_defined_later_is_found_when_the_app_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    defined = of_what_comes_later()
    monkeypatch.setitem(globals(), "Later", int | None)

    async with Romancy("memory://", workflows=[defined]) as app:
        await app.run(defined)


def test_a_result_that_cannot_be_read_is_told_before_the_workflow_begins() -> None:
    class Plain: ...

    elsewhere = WorkflowType("elsewhere", Plain)
    with pytest.raises(RegistrationError, match=r"result of workflow elsewhere, declared as .*Plain, cannot be stored"):
        elsewhere.encode((), {})
