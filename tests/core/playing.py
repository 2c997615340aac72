"""A run that is fed inputs by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from romancy.core import (
    Activation,
    Input,
    LogEvent,
    Run,
    Topic,
    WorkflowStarted,
)
from tests.core.driver import started

if TYPE_CHECKING:
    from romancy.workflow import Workflow

__all__ = ["TOPIC", "Play"]


TOPIC = Topic("orders", kind="channel")


class Play:
    """A run that is fed inputs by hand, with its commits."""

    def __init__(self, wf: Workflow[..., Any], *args: Any, first: Input | None = None) -> None:
        self.workflow = wf
        self.run = Run(wf, instance_id="x")
        self.commits: list[list[LogEvent]] = []
        self.last = self.feed(first or started(wf, *args, rules=1))

    def feed(self, *inputs: Input) -> Activation:
        self.last = self.run.activate(inputs)
        self.commits.append(self.last.events)
        return self.last

    def again(self) -> Play:
        """The same run, brought back from its log."""
        play = Play.__new__(Play)
        play.workflow, play.commits, play.last = self.workflow, list(self.commits), self.last
        play.run = Run(self.workflow, instance_id="x")
        play.run.replay(self.commits)
        assert play.run.state.status() == self.run.state.status()
        return play

    def result(self) -> Any:
        outcome = self.run.outcome()
        assert outcome is not None, self.last
        assert outcome.result is not None, outcome.error
        return msgspec.json.decode(outcome.result)

    def successor(self) -> WorkflowStarted | None:
        return self.last.successor
