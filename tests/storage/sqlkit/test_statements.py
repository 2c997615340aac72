"""Operations without a database: what they are answered, and that a closed one is closed at each request."""

from __future__ import annotations

import inspect
from contextlib import closing
from types import MappingProxyType
from typing import TYPE_CHECKING

import pytest

from romancy.errors import InternalError
from romancy.storage.sqlkit.statements import (
    Answer,
    Ask,
    Request,
    Running,
    ask,
    ask_all,
    ask_last,
    tell,
)

if TYPE_CHECKING:
    from romancy.storage.sqlkit.statements import Operation, Own, Values

NONE = Answer((), 0)


def one(script: str) -> Request:
    return Request((Ask(script, {}),))


def answered(name: str) -> Answer:
    """The answer of a script: its own name."""
    return Answer([(name,)], 1)


def carried_out(operation: Operation[object], own: Own = MappingProxyType({})) -> tuple[object, list[str], set[str]]:
    """The result, the requests in order, and the news."""
    requests: list[str] = []
    with closing(Running(operation, own)) as running:
        while (request := running.request) is not None:
            names = [[each.script for each in asks] for asks in (request.asks, request.then)]
            requests.append(" ".join(names[0]) + (" commit " * request.last) + " ".join(names[1]))
            running.answer([answered(name) for some in names for name in some])
        return running.result, requests, running.news


def seen(*answers: Answer) -> list[str]:
    return [answer.rows[0][0] for answer in answers]


def reads() -> Operation[list[str]]:
    first = yield from ask("first", number=1)
    second, third = yield from ask_all(Ask("second", {}), Ask("third", {}))
    return seen(first, second, third)


def writes() -> Operation[list[str]]:
    locked = yield from ask("lock")
    yield from tell("one", "two")
    written, looked = yield from ask_last(Ask("write", {"ids": ["a"]}), then=(Ask("look", {}),))
    return seen(locked, written, looked)


def nothing_in_the_end() -> Operation[list[str]]:
    locked = yield from ask("lock")
    return seen(locked, *(yield from ask_last(then=(Ask("look", {}),))))


def test_an_operation_gets_the_answers_to_its_requests() -> None:
    assert carried_out(reads()) == (["first", "second", "third"], ["first", "second third"], set())
    assert carried_out(writes()) == (["lock", "write", "look"], ["lock", "write commit look"], {"one", "two"})
    assert carried_out(nothing_in_the_end()) == (["lock", "look"], ["lock", " commit look"], set())


def test_an_operation_without_steps_has_its_result_at_once() -> None:
    def told() -> Operation[int]:
        yield from tell("news")
        return 3

    assert carried_out(told()) == (3, [], {"news"})


def test_a_dialect_answers_a_script_with_an_operation_of_its_own() -> None:
    def first(values: Values) -> Operation[Answer]:
        assert values == {"number": 1}
        parts = yield from ask_all(Ask("a", {}), Ask("b", {}))
        yield from tell("mine")
        return answered("+".join(seen(*parts)))

    own: Own = {"first": first}
    assert carried_out(reads(), own) == (["a+b", "second", "third"], ["a b", "second third"], {"mine"})
    assert carried_out(reads(), {}) == carried_out(reads())


def test_several_own_operations_go_side_by_side() -> None:
    def second(_: Values) -> Operation[Answer]:
        parts = yield from ask_all(Ask("a", {}), Ask("b", {}))
        yield from tell("mine")
        more = yield from ask("c")
        return answered("+".join(seen(*parts, more)))

    def third(_: Values) -> Operation[Answer]:
        return (yield from ask("d"))

    assert carried_out(reads(), {"second": second}) == (
        ["first", "a+b+c", "third"],
        ["first", "a b third", "c"],
        {"mine"},
    )
    assert carried_out(reads(), {"second": second, "third": third}) == (
        ["first", "a+b+c", "d"],
        ["first", "a b d", "c"],
        {"mine"},
    )


def test_a_last_step_of_several_scripts_has_no_own_operation() -> None:
    def ends() -> Operation[list[Answer]]:
        return (yield from ask_last(Ask("one", {}), Ask("write", {"ids": ["a"]})))

    with pytest.raises(InternalError):
        carried_out(ends(), {"write": write_in_parts})


def write_in_parts(values: Values) -> Operation[Answer]:
    assert values == {"ids": ["a"]}
    judged = yield from ask("judge")
    parts = yield from ask_last(Ask("park", {}), Ask("give", {}), then=(Ask("given", {}),))
    return answered("+".join(seen(judged, *parts)))


def test_the_last_step_of_an_own_operation_is_that_of_the_transaction() -> None:
    assert carried_out(writes(), {"write": write_in_parts}) == (
        ["lock", "judge+park+give+given", "look"],
        ["lock", "judge", "park give commit given look"],
        {"one", "two"},
    )


def test_an_own_operation_without_a_last_step_leaves_the_commit_to_the_other() -> None:
    def write(_: Values) -> Operation[Answer]:
        return (yield from ask("judge"))

    def write_nothing(_: Values) -> Operation[Answer]:
        yield from ()
        return answered("nothing")

    assert carried_out(writes(), {"write": write}) == (
        ["lock", "judge", "look"],
        ["lock", "judge", " commit look"],
        {"one", "two"},
    )
    result, requests, _ = carried_out(writes(), {"write": write_nothing})
    assert (result, requests) == (["lock", "nothing", "look"], ["lock", " commit look"])


def test_an_own_operation_must_end_with_its_last_step() -> None:
    def goes_on(_: Values) -> Operation[Answer]:
        yield from ask_last(Ask("park", {}))
        return (yield from ask("more"))

    with pytest.raises(InternalError):
        carried_out(writes(), {"write": goes_on})


@pytest.mark.parametrize("number", range(3))
def test_closing_at_each_step_closes_the_operation_and_the_own_one(number: int) -> None:
    closed: list[str] = []

    def mine(values: Values) -> Operation[Answer]:
        try:
            return (yield from write_in_parts(values))
        finally:
            closed.append("mine")

    def whole() -> Operation[list[str]]:
        try:
            return (yield from writes())
        finally:
            closed.append("whole")

    operation = whole()
    running = Running(operation, {"write": mine})
    for _ in range(number):
        assert running.request is not None
        running.answer([answered(each.script) for each in (*running.request.asks, *running.request.then)])
    assert running.request is not None

    running.close()

    assert inspect.getgeneratorstate(operation) == inspect.GEN_CLOSED
    assert closed == (["mine", "whole"] if number else ["whole"])
    running.close()  # again, as after an end


def test_an_error_of_an_operation_is_the_error_of_its_step() -> None:
    def fails() -> Operation[None]:
        yield from ask("one")
        raise LookupError

    running = Running(fails())
    assert running.request == one("one")
    with pytest.raises(LookupError):
        running.answer([NONE])
