"""Limits as they are declared: what makes no sense is refused by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from romancy import Limit, RegistrationError, UsageError, WorkflowContext, activity, workflow
from romancy.declaring.limit_keys import key_of

if TYPE_CHECKING:
    from collections.abc import Callable

ONE = Limit("one", concurrency=1)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Limit("x"), "concurrency=, rate= or both"),
        (lambda: Limit("", concurrency=1), "name of a limit"),
        (lambda: Limit("a~b", concurrency=1), "without '~'"),
        (lambda: Limit("x" * 101, concurrency=1), "at most 100 bytes"),
        (lambda: Limit("x", concurrency=0), "at least 1"),
        (lambda: Limit("x", concurrency=True), "at least 1"),
        (lambda: Limit("x", rate=(0, 60)), "at least 1"),
        (lambda: Limit("x", rate=(5, 0)), "between a millisecond and 31 days"),
        (lambda: Limit("x", rate=(5, "minute")), "number of seconds or a timedelta"),  # type: ignore[arg-type]
        (lambda: Limit("x", rate=60), "a number and a period"),  # type: ignore[arg-type]
        (lambda: Limit("x", rate=(5000, 1)), "at most 1,000"),
        (lambda: Limit("x", key=7, concurrency=1), "path of the input"),  # type: ignore[arg-type]
    ],
)
def test_a_limit_that_makes_no_sense_is_refused(make: Callable[[], Limit], words: str) -> None:
    with pytest.raises(RegistrationError, match=words):
        make()


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (ONE, "takes a list of limits"),
        (["one"], "takes a list of limits"),
        ([ONE, Limit("one", concurrency=2)], "has 'one' twice"),
        ([Limit("two", key=len, concurrency=2)], "is a function"),
        ([Limit("two", key="a..b", concurrency=2)], "key= of limit 'two'"),
    ],
)
def test_limits_of_a_workflow_that_make_no_sense_are_refused(limits: Any, words: str) -> None:
    async def body(ctx: WorkflowContext) -> None: ...

    with pytest.raises(RegistrationError, match=words):
        workflow(limits=limits)(body)


def order(id: int) -> None: ...


def test_limits_of_an_activity_that_make_no_sense_are_refused() -> None:
    with pytest.raises(RegistrationError, match="takes a list of limits"):
        activity(limits=ONE)(order)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("key", "raw", "text"),
    [
        ("customer.name", b'{"customer": {"name": "ann"}, "id": 7}', "ann"),
        ("name", b'{"customer": {"name": "ann"}}', "ann"),
        ("id", b'{"id": 7, "more": 1}', "7"),
        ("paid", b'{"paid": true, "more": 1}', "true"),
    ],
)
def test_a_path_finds_the_key_in_the_input(key: str, raw: bytes, text: str) -> None:
    assert key_of(Limit("x", key=key, concurrency=1), raw) == text


@pytest.mark.parametrize(
    "raw", [b'{"id": null, "x": 1}', b'{"x": 1, "y": 2}', b'{"id": {"a": 1}, "x": 1}', b'{"id": 1.5, "x": 1}']
)
def test_a_path_to_what_is_no_key_is_refused(raw: bytes) -> None:
    with pytest.raises(UsageError, match="limit 'x': its key at 'id'"):
        key_of(Limit("x", key="id", concurrency=1), raw)


def host_of(host: str, path: str) -> str:
    return host


def test_a_function_makes_the_key_of_a_call() -> None:
    limit = Limit("x", key=host_of, concurrency=1)

    assert key_of(limit, b"{}", ("example.org",), {"path": "/"}) == "example.org"


def test_the_places_are_taken_in_the_order_of_the_names() -> None:
    @workflow(limits=[Limit("b", concurrency=1), Limit("a", rate=(1, 1))])
    async def both(ctx: WorkflowContext) -> None: ...

    assert [one.name for one in both.limits] == ["a", "b"]
