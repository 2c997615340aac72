"""The decorators: what they take, what they refuse, and what a decorated function still is."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import pytest

from romancy import RetryPolicy, WorkflowContext, activity, compensation, workflow
from romancy.attempt_context import ActivityContext
from romancy.declaring.undo import checked_undo
from romancy.entity import entity
from romancy.errors import RegistrationError, UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator


async def plain(item: str, count: int = 1) -> str:
    """Say it."""
    return item * count


def at_once(item: str) -> str:
    return item


def refusal(decorator: Any, fn: Any) -> str:
    with pytest.raises(RegistrationError) as caught:
        decorator(fn)
    return str(caught.value)


def test_a_decorated_function_keeps_its_name_and_documentation() -> None:
    decorated = activity(plain)
    assert (decorated.name, decorated.__doc__) == ("plain", "Say it.")
    assert decorated.fn is plain
    assert repr(decorated) == "<activity plain>"


def test_a_name_of_its_own() -> None:
    assert activity(name="say")(plain).name == "say"
    assert "is not a name" in refusal(activity(name=" "), plain)


@pytest.mark.parametrize("label", ["", "i" * 256, "a\x00b", "half a character: \ud800", 5])
def test_what_no_row_can_bear_is_refused_where_it_is_declared(label: Any) -> None:
    async def body(ctx: WorkflowContext) -> None: ...

    for decorator in (activity(name=label), compensation(name=label)):
        assert "on plain: name: " in refusal(decorator, plain)
    for declared, what in ((workflow(name=label), "name"), (workflow(version=label), "version")):
        assert f"body: {what}: " in refusal(declared, body)


def test_what_is_no_function_is_refused() -> None:
    async def generates() -> AsyncIterator[int]:
        yield 1

    def generates_plainly() -> Iterator[int]:
        yield 1

    async def collects(ctx: WorkflowContext, *items: int) -> None: ...

    async def collects_names(ctx: WorkflowContext, **items: int) -> None: ...

    async def bare() -> None: ...

    async def by_name(*, ctx: WorkflowContext) -> None: ...

    def not_async(ctx: WorkflowContext) -> None: ...

    nameless: Any = eval("lambda ctx: ctx")  # noqa: S307 - a lambda is what is to be refused
    for decorator in (activity, workflow, compensation):
        assert "a lambda has none" in refusal(decorator, nameless)
        assert "needs a function, not int" in refusal(decorator, 5)
        assert "goes below @staticmethod" in refusal(decorator, staticmethod(plain))
        assert "generator" in refusal(decorator, generates)
        assert "generator" in refusal(decorator, generates_plainly)
        assert "*items" in refusal(decorator, collects)
        assert "**items" in refusal(decorator, collects_names)
    assert "`async def`" in refusal(workflow, not_async)
    assert "leading parameter" in refusal(workflow, bare)
    assert "leading parameter" in refusal(workflow, by_name)
    assert "leading parameter" in refusal(activity(pass_context=True), bare)
    assert "executor='process'" in refusal(activity(executor="process"), plain)


def test_choices_that_there_are_not_are_refused() -> None:
    """Otherwise the error would appear only when the activity raises, and its instance would wait for ever."""
    untyped: Any = activity
    for choice in ({"executor": "fork"}, {"commit": "late"}, {"compensate": "always", "compensation": plain}):
        assert f"{next(iter(choice))}= is" in refusal(untyped(**choice), plain)
    for raises in (ValueError, "ValueError", ["ValueError"], [5], [BaseException]):
        assert "raises= takes a list of exception classes" in refusal(untyped(raises=raises), plain)

    async def ordinary(ctx: WorkflowContext) -> None: ...

    assert "index= takes a list of paths" in refusal(workflow(index="order"), ordinary)
    for wrong in (["order..id"], ["order", ""], [5]):
        assert "index=: " in refusal(workflow(index=cast("Any", wrong)), ordinary)


def test_a_path_that_is_declared_twice_is_one() -> None:
    """The database has one row for each: a second one would be refused."""

    async def ordinary(ctx: WorkflowContext) -> None: ...

    declared = workflow(index=["order.id", "kind", 'order["id"]', "kind"])(ordinary)

    assert declared.index == ("order.id", "kind")


def test_heartbeats_that_cannot_be_are_refused() -> None:
    assert "longer than 0 s" in refusal(activity(heartbeat_timeout=0), plain)
    assert "use timeout=" in refusal(activity(executor="process", heartbeat_timeout=5), at_once)


def test_at_most_once_is_refused_with_what_repeats_an_attempt() -> None:
    assert "with commit='lazy' a crash runs the activity again" in refusal(
        activity(commit="lazy", at_most_once=True), plain
    )
    assert "at_most_once= is True or False, not 'yes'" in refusal(activity(at_most_once=cast("Any", "yes")), plain)
    once = activity(at_most_once=True)(plain)
    assert (once.at_most_once, once.options(retry=RetryPolicy.none()).at_most_once) == (True, True)
    with pytest.raises(UsageError, match="at_most_once=True begins it once"):
        checked_undo(once)


def test_lazy_activities_that_cannot_be_are_refused() -> None:
    untyped: Any = activity
    assert "nothing would undo it" in refusal(untyped(commit="lazy", compensation=at_once), plain)
    assert "leave commit= out" in refusal(activity(executor="process", commit="lazy"), at_once)
    with pytest.raises(RegistrationError, match="nothing would undo it"):
        untyped(commit="lazy")(plain).compensation(at_once)


def test_two_compensations_for_one_activity_are_refused() -> None:
    @compensation
    async def undo(item: str, count: int = 1) -> None: ...

    undoes: object = undo
    reserve = activity(compensation=undo)(plain)
    assert reserve.undo is undoes
    with pytest.raises(RegistrationError, match="already has the compensation undo"):
        reserve.compensation(undo)


async def takes_nothing() -> None: ...
async def takes_result_alone(result: str) -> None: ...
async def takes_one(order: int) -> None: ...
async def takes_swapped(amount: str, order: int) -> None: ...
async def takes_result_last(order: int, result: str) -> None: ...
async def takes_more(order: int, amount: str, more: int) -> None: ...
async def takes_by_name(order: int, *, amount: str) -> None: ...


@pytest.mark.parametrize(
    ("undo", "why"),
    [
        (takes_nothing, "does not take 'order', 'amount'"),
        (takes_result_alone, "does not take 'order', 'amount'"),
        (takes_one, "does not take 'amount'"),
        (takes_swapped, "takes 'amount' in the place of 'order'"),
        (takes_result_last, "takes `result`, but not as its first parameter"),
        (takes_more, "asks for 'more' as well"),
        (takes_by_name, "does not take 'amount'"),
    ],
)
def test_a_compensation_that_cannot_be_called_is_refused(undo: Callable[..., object], why: str) -> None:
    async def charge(order: int, amount: str) -> str:
        return amount

    with pytest.raises(RegistrationError, match=f"compensation {undo.__name__} of activity charge {why}.*`result` and"):
        activity(compensation=undo)(charge)
    with pytest.raises(RegistrationError, match=why):
        activity(charge).compensation(undo)


async def all_of_it(order: int, *, amount: str) -> None: ...
async def other_words(number: int, amount: str) -> None: ...
async def result_and_all(result: str, order: int, *, amount: str) -> None: ...
async def with_default(order: int, more: int = 3, *, amount: str, still_more: str = "") -> None: ...


@pytest.mark.parametrize("undo", [all_of_it, other_words, result_and_all, with_default])
def test_a_compensation_that_can_be_called_is_none_the_worse(undo: Callable[..., object]) -> None:
    async def charge(order: int, *, amount: str) -> str:
        return amount

    declared = activity(compensation=undo)(charge)

    assert declared.undo is not None


def test_a_plain_function_can_be_a_compensation() -> None:
    async def undo(result: str, item: str, count: int = 1) -> None: ...

    reserve = activity(compensation=undo)(plain)
    assert reserve.undo is not None
    assert (reserve.undo.name, reserve.undo.takes_result) == ("undo", True)


def test_outside_of_a_workflow_an_activity_is_its_function() -> None:
    @activity
    def sync(n: int) -> int:
        return n + 1

    async def call() -> tuple[str, int]:
        return await activity(plain)("ab", count=2), await sync(1)

    assert asyncio.run(call()) == ("abab", 2)


def test_outside_of_a_workflow_a_workflow_says_how_to_start_it() -> None:
    @workflow
    async def order(ctx: WorkflowContext) -> None: ...

    with pytest.raises(UsageError, match=r"await app\.start\(order, …\)"):
        asyncio.run(order())
    with pytest.raises(UsageError, match="call it in the workflow's body"):
        order.recur()


def test_options_change_a_copy() -> None:
    decorated = activity(retry=RetryPolicy.none())(plain)
    optioned = decorated.options(id="mine", timeout=5)
    assert optioned.name == decorated.name
    assert optioned is not decorated
    assert optioned.retry is decorated.retry
    with pytest.raises(UsageError, match="timeout"):
        decorated.options(timeout=float("inf"))


def test_a_retry_policy_is_nothing_else() -> None:
    """Otherwise the policy would be called only when an attempt has failed."""
    untyped: Any = 5
    for declared in (activity(retry=untyped), compensation(retry=untyped)):
        with pytest.raises(UsageError, match="retry= takes a RetryPolicy, not int"):
            declared(plain)
    with pytest.raises(UsageError, match="retry= takes a RetryPolicy, not int"):
        activity(plain).options(retry=untyped)


def test_an_activity_of_an_instance_is_refused() -> None:
    class Shop:
        @activity
        async def close(shop, reason: str) -> None: ...  # noqa: N805 - not seen as a method where it is declared

        @staticmethod
        @activity
        async def open_up(reason: str) -> str:
            return reason

    with pytest.raises(UsageError, match="taken from an instance of Shop"):
        Shop().close  # noqa: B018 - the access is what is refused
    assert asyncio.run(Shop().open_up("late")) == "late"


def test_the_code_of_a_workflow_is_a_hash_of_its_source_or_what_the_author_says() -> None:
    @workflow
    async def one(ctx: WorkflowContext) -> int:
        return 1

    @workflow
    async def two(ctx: WorkflowContext) -> int:
        return 2

    @workflow(version="2026-11")
    async def three(ctx: WorkflowContext) -> int:
        return 3

    assert one.code == one.code != two.code
    assert len(one.code) == 16
    assert three.code == "2026-11"


def test_code_without_a_source_file_has_a_hash_as_well() -> None:
    namespace: dict[str, Any] = {"WorkflowContext": WorkflowContext}
    exec("async def typed_in(ctx: WorkflowContext) -> int:\n    return 1", namespace)  # noqa: S102 - as in a console
    assert len(workflow(namespace["typed_in"]).code) == 16


def test_arguments_are_checked_before_anything_is_written() -> None:
    @workflow
    async def order(ctx: WorkflowContext, item: str, count: int = 1) -> None: ...

    assert order.bind("a").encode() == order.bind(item="a", count=1).encode()
    with pytest.raises(UsageError, match="item"):
        order.bind().encode()  # type: ignore[call-arg]
    with pytest.raises(UsageError, match="parameter 'count' of workflow 'order'"):
        order.bind("a", count="many").encode()  # type: ignore[arg-type]


def test_a_context_for_an_activity_is_no_argument() -> None:
    @activity(pass_context=True)
    async def remember(ctx: ActivityContext, item: str) -> str:
        return item

    assert remember.signature.names == ("item",)


def test_an_attempt_has_no_result_to_be_undone_with() -> None:
    async def undo(result: str, item: str, count: int = 1) -> None: ...

    with pytest.raises(RegistrationError, match="has no result, which the compensation undo asks for"):
        activity(compensation=undo, compensate="attempted")(plain)


def test_a_refusal_says_what_to_do() -> None:
    async def declared(ctx: WorkflowContext) -> None: ...

    async def takes_a_context(ctx: WorkflowContext, item: str) -> None: ...

    def with_option(**options: Any) -> Any:
        return cast("Any", activity)(**options)(plain)

    refusals: list[tuple[Callable[[], object], str]] = [
        (lambda: activity(cast("Any", "charge")), "as in @activity(name='charge')"),
        (lambda: activity(cast("Any", workflow(declared))), "declared as workflow already; use one decorator"),
        (lambda: activity(takes_a_context), "activity takes_a_context takes a WorkflowContext as 'ctx'"),
        (lambda: with_option(retries=3), "did you mean retry=RetryPolicy(max_attempts=…), which counts"),
        (lambda: cast("Any", workflow)(versoin="2"), "@workflow has no option 'versoin'; did you mean 'version'?"),
        (
            lambda: cast("Any", compensation)(commit="lazy"),
            "@compensation has no option 'commit'; its options are name, retry",
        ),
    ]
    for declare, text in refusals:
        with pytest.raises(RegistrationError) as refused:
            declare()
        assert text in str(refused.value)


def test_an_entity_below_its_dataclass_is_told_the_order() -> None:
    with pytest.raises(RegistrationError, match="its fields are the state, so it goes above @dataclass"):

        @dataclass
        @entity("cart-in-the-wrong-order")
        class Cart:
            total: int = 0

            async def add(self) -> int:
                return self.total
