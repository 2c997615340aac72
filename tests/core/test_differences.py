"""A misfit of calls with equal names shows what differs, and only that."""

from __future__ import annotations

import msgspec
from msgspec import Raw

from romancy.core import (
    ActivityScheduled,
    Message,
    MessageAwaited,
    MessageSent,
    Topic,
    WorkflowCompleted,
    without_values,
)
from romancy.core.run.differences import differences


def raw(value: object) -> Raw:
    return Raw(msgspec.json.encode(value))


def call(value: object, *, name: str = "note", id: str = "note:1") -> ActivityScheduled:
    return ActivityScheduled(id=id, name=name, args=raw(value))


def test_the_part_of_the_arguments_that_differs_is_shown() -> None:
    before, now = {"order": {"items": ["a", "b"], "at": 1}}, {"order": {"items": ["a", "c"], "at": 1}}
    assert differences([call(before)], [call(now)]) == [
        'differs: note:1, argument order.items[1]: "b" in the log, "c" now'
    ]


def test_a_plain_value_a_missing_key_and_another_type_are_shown() -> None:
    assert differences([call(1)], [call("1")]) == ['differs: note:1, argument: 1 in the log, "1" now']
    assert differences([call({"a": 1})], [call({"a": 1, "b": 2})]) == [
        "differs: note:1, argument b: nothing in the log, 2 now"
    ]
    assert differences([call([1])], [call([1, 2])]) == ["differs: note:1, argument: [1] in the log, [1,2] now"]


def test_long_values_are_cut_around_the_place_where_they_part() -> None:
    (line,) = differences([call("x" * 500 + "a" + "y" * 500)], [call("x" * 500 + "b" + "y" * 500)])
    assert "xay" in line
    assert "xby" in line
    assert len(line) < 250


def test_results_and_ids_are_compared_too() -> None:
    assert differences([WorkflowCompleted(result=raw(1))], [WorkflowCompleted(result=raw(2))]) == [
        "differs: end of the run, result: 1 in the log, 2 now"
    ]
    assert differences([call(1, id="mine")], [call(1, id="other")]) == [
        'differs: other, id: "mine" in the log, "other" now'
    ]


def test_a_message_says_which_part_of_it_differs() -> None:
    def sent(value: object, **headers: str) -> MessageSent:
        return MessageSent("paid:1", Message(Topic("paid"), raw(value), id=str(value), headers=headers))

    assert differences([sent({"amount": 5}, run="1")], [sent({"amount": 6}, run="2")]) == [
        "differs: paid:1, data amount: 5 in the log, 6 now"
    ]
    assert differences(
        [MessageAwaited("paid:1", Topic("paid"), due=5)], [MessageAwaited("paid:1", Topic("paid"), due=6)]
    ) == ["differs: paid:1, due: 5 in the log, 6 now"]


def test_other_calls_are_not_compared_and_many_are_counted() -> None:
    assert differences([call(1)], [call(1, name="other"), WorkflowCompleted(result=raw(2))]) == []
    many = differences([call(at) for at in range(9)], [call(at + 100) for at in range(9)])
    assert len(many) == 4
    assert many[-1] == "differs: 6 more"


def test_the_lines_can_be_left_out() -> None:
    text = "first\n  differs: note:1, argument: 1 in the log, 2 now\nlast"
    assert without_values(text) == "first\nlast"
