"""The graph of executed steps: their order, their places in the drawing, and the Mermaid text."""

from __future__ import annotations

from msgspec import Raw

from romancy import core as ev
from romancy.dashboard.instance._graph import Graph, graph_of
from romancy.insight import Timeline

STARTED = ev.WorkflowStarted(at=0, workflow="shop", input=Raw(b"null"), nonce="n")


def asked(name: str) -> ev.ActivityScheduled:
    return ev.ActivityScheduled(id=f"{name}:1", name=name, args=Raw(b"[]"))


def ended(name: str, at: int) -> ev.ActivityCompleted:
    return ev.ActivityCompleted(at=at, id=f"{name}:1")


def drawn(*commits: list[ev.LogEvent]) -> Graph:
    timeline = Timeline(detailed=True)
    everything: list[list[ev.LogEvent]] = [[STARTED], *commits]
    for seq, commit in enumerate(everything, 1):
        for index, event in enumerate(commit):
            timeline.take(event, (seq, index))
    graph = graph_of(timeline.steps, 0, 1000, beyond=False)
    assert graph is not None
    return graph


def test_parallel_steps_stand_side_by_side_and_are_joined() -> None:
    graph = drawn([asked("a"), asked("b"), asked("c")], [ended("a", 1)], [ended("b", 2), ended("c", 3), asked("d")])

    assert [
        ("a:1", "at the start"), ("b:1", "at the start"), ("c:1", "at the start"), ("d:1", "after a:1, b:1, c:1"),
    ] == list(graph.words)  # fmt: skip
    a, b, c, d = graph.boxes
    assert a.y == b.y == c.y < d.y
    assert a.x < b.x < c.x
    assert d.x == b.x, "it stands in the middle"
    assert 3 == len(graph.lines)


def test_two_ways_that_run_beside_each_other_stay_apart() -> None:
    graph = drawn([asked("a"), asked("b")], [ended("a", 1), asked("c")], [ended("b", 2), asked("d")])

    assert [("c:1", "after a:1"), ("d:1", "after b:1")] == list(graph.words[2:])


def test_steps_asked_for_at_once_follow_the_same() -> None:
    graph = drawn([asked("a")], [ended("a", 1), asked("b"), asked("c")])

    assert [("b:1", "after a:1"), ("c:1", "after a:1")] == list(graph.words[1:])


def test_names_are_no_syntax_of_mermaid() -> None:
    evil = ev.ActivityScheduled(id="x:1", name='"]; click n0 "javascript:1', args=Raw(b"[]"))

    text = drawn([evil, asked("b")]).text

    assert text.startswith("flowchart TD\n")
    assert 3 == len(text.strip().split("\n"))
    assert "javascript:1" not in text.replace("#34;", "")[: text.index("[")]
    assert "#34;#93;#59; click n0 #34;javascript:1" in text
    assert '  n1["b:1<br/>open"]' in text


def test_without_steps_there_is_no_graph() -> None:
    assert None is graph_of([], 0, 1, beyond=False)
