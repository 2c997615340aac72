"""Two instances side by side: where their ways part."""

from __future__ import annotations

from msgspec import Raw

from romancy import core as ev
from romancy.dashboard.instance._compare import Line, compare, lines_of
from romancy.dashboard.instance._rows import Row, row_of
from romancy.insight import Step, Timeline
from romancy.serialization import ErrorInfo

STARTED = ev.WorkflowStarted(at=0, workflow="shop", input=Raw(b"null"), nonce="n")


def side(*events: ev.LogEvent) -> list[tuple[Step, Row]]:
    timeline = Timeline(detailed=True)
    for seq, event in enumerate([STARTED, *events], 1):
        timeline.take(event, (seq, 0))
    return [(step, row_of(step, 0, 10_000)) for step in timeline.steps]


def call(name: str, args: bytes = b"[]") -> ev.ActivityScheduled:
    return ev.ActivityScheduled(id=f"{name}:1", name=name, args=Raw(args))


def returned(name: str, at: int, result: bytes = b"1") -> ev.ActivityCompleted:
    return ev.ActivityCompleted(at=at, id=f"{name}:1", result=Raw(result))


def test_the_first_step_that_differs_is_named() -> None:
    failed = ev.ActivityFailed(at=9_000, id="b:1", error=ErrorInfo(type="ValueError"))

    sides = compare(
        side(call("a"), returned("a", 1000), call("b"), returned("b", 3000), call("c")),
        side(call("a"), returned("a", 5000), call("b"), failed, call("d")),
    )

    assert [("time",), ("outcome", "time"), ("step",)] == [pair.differs for pair in sides.pairs]
    assert [False, True, False] == [pair.first for pair in sides.pairs]
    assert sides.first is sides.pairs[1]


def test_inputs_results_and_what_only_one_has_differ() -> None:
    sides = compare(
        side(call("a", b"[1]"), returned("a", 1000), call("b"), returned("b", 1000)),
        side(call("a", b"[2]"), returned("a", 1000), call("b"), returned("b", 1000, b"2"), call("c")),
    )

    assert [("input",), ("result",), ("only here",)] == [pair.differs for pair in sides.pairs]


def test_equal_instances_do_not_differ() -> None:
    one = side(call("a"), returned("a", 1000))

    sides = compare(one, one)
    assert ([()], None) == ([pair.differs for pair in sides.pairs], sides.first)


def test_inputs_are_compared_line_by_line() -> None:
    assert [
        Line("{", "{", same=True),
        Line('  "a": 1,', '  "a": 1,', same=True),
        Line('  "b": 2', '  "b": 3', same=False),
        Line("}", "}", same=True),
    ] == lines_of(b'{"a":1,"b":2}', b'{"a":1,"b":3}')
    assert None is lines_of(b'"' + b"x" * 40_000 + b'"', b"1")
