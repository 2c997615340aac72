"""The steps of agents as a conversation: turns, the calls of tools within them, and agents within agents. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from romancy.dashboard.instance._payload import NARROW, Payload, payload
from romancy.dashboard.instance._rows import Row, row_of
from romancy.dashboard.instance._said import Said, said_in

if TYPE_CHECKING:
    from collections.abc import Iterable

    from romancy.dashboard.instance._said import Called
    from romancy.insight import Step

__all__ = ["Call", "Conversation", "Turn", "conversation_of"]

_DEEPEST: Final = 6
_SHOWN: Final = ("question", "child", "activity")


@dataclass(slots=True)
class Call:
    """A call of a tool, and its step if that has begun."""

    name: str
    arguments: Payload | None
    row: Row | None = None
    within: list[Turn] = field(default_factory=list["Turn"])


@dataclass(slots=True)
class Turn:
    """What one step adds to the conversation."""

    kind: str
    """`turn` of a model, `tool`, `node`, `question` or `child`."""
    row: Row
    title: str
    depth: int = 0
    model: str = ""
    prompts: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    said: Said | None = None
    calls: list[Call] = field(default_factory=list[Call])


@dataclass(slots=True)
class Conversation:
    """The turns of a page."""

    turns: list[Turn] = field(default_factory=list[Turn])
    requests: int = 0
    given: int = 0
    made: int = 0
    cost: Decimal = Decimal(0)

    @property
    def has_agents(self) -> bool:
        return any(one.kind in ("turn", "tool", "node") for one in self.turns)


class _Run:
    """A run of an agent, whose calls of tools are answered one after another."""

    def __init__(self, name: str, depth: int) -> None:
        self.name = name
        self.depth = depth
        self.waiting: list[tuple[Called, Call]] = []


class _Making:
    def __init__(self, origin: int, until: int, *, beyond: bool) -> None:
        self._origin = origin
        self._until = until
        self._beyond = beyond
        self._runs: dict[str, _Run] = {}
        self.made = Conversation()

    def take(self, step: Step) -> None:
        about = _about(step)
        row = row_of(step, self._origin, self._until, beyond=self._beyond)
        if "model" in about:
            self._request(step, row, about)
        elif "tool" in about:
            self._tool(row, str(about["tool"]), str(about.get("call") or ""), about)
        elif "node" in about or "task" in about:
            self._node(step, row, about)
        elif step.kind == "activity" and self._answers(row, step.name, ""):
            return
        elif step.kind in _SHOWN:
            kind = "tool" if step.kind == "activity" else step.kind
            self.made.turns.append(Turn(kind, row, step.name, self._depth()))

    def _request(self, step: Step, row: Row, about: dict[str, Any]) -> None:
        run = self._run(about)
        said = said_in(_result(step))
        turn = Turn("turn", row, run.name, run.depth, str(about["model"] or ""), _prompts(about), said)
        run.waiting.clear()
        self.made.requests += 1
        if said is not None:
            turn.model = said.model or turn.model
            self._count(said)
            self._call(said, turn, run)
        self.made.turns.append(turn)

    def _node(self, step: Step, row: Row, about: dict[str, Any]) -> None:
        said = said_in(_result(step))
        turn = Turn("node", row, str(about.get("node") or about.get("task")), said=said)
        if said is not None:
            turn.model = said.model
            self._count(said)
            self._call(said, turn, self._run({"agent": ""}))
        self.made.turns.append(turn)

    def _call(self, said: Said, turn: Turn, run: _Run) -> None:
        for called in said.calls:
            call = Call(called.name, payload(called.arguments, NARROW))
            turn.calls.append(call)
            run.waiting.append((called, call))

    def _count(self, said: Said) -> None:
        self.made.given += said.tokens[0]
        self.made.made += said.tokens[1]
        if said.cost:
            self.made.cost += said.cost

    def _tool(self, row: Row, name: str, id_: str, about: dict[str, Any]) -> None:
        if not self._answers(row, name, id_):
            self.made.turns.append(Turn("tool", row, name, self._run(about).depth))

    def _answers(self, row: Row, name: str, id_: str) -> bool:
        """Put the step where its call was asked for, if this page has that."""
        for run in reversed(self._runs.values()):
            for at, (called, call) in enumerate(run.waiting):
                if (called.id == id_) if id_ else (called.name == name):
                    call.row = row
                    del run.waiting[at]
                    return True
        return False

    def _run(self, about: dict[str, Any]) -> _Run:
        """The run of an agent. One that begins while a call of another one is open belongs to that call."""
        key = str(about.get("run") or about.get("agent") or "")
        if key not in self._runs:
            self._runs[key] = _Run(str(about.get("agent") or ""), self._depth())
        return self._runs[key]

    def _depth(self) -> int:
        open_ones = [run.depth for run in self._runs.values() if run.waiting]
        return min(max(open_ones) + 1, _DEEPEST) if open_ones else 0


def conversation_of(steps: Iterable[Step], origin: int, until: int, *, beyond: bool) -> Conversation:
    """The conversation of these steps. `beyond`: the log continues after the part that was read."""
    making = _Making(origin, until, beyond=beyond)
    for step in steps:
        making.take(step)
    return making.made


def _about(step: Step) -> dict[str, Any]:
    raw = getattr(step.asked, "about", None)
    if not isinstance(raw, msgspec.Raw) or not bytes(raw):
        return {}
    try:
        value: object = msgspec.json.decode(raw)
    except msgspec.DecodeError:
        return {}
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _result(step: Step) -> bytes:
    raw = getattr(step.answer, "result", None)
    return bytes(raw) if isinstance(raw, msgspec.Raw) else b""


def _prompts(about: dict[str, Any]) -> list[tuple[str, str]]:
    given: object = about.get("prompts")
    many = cast("list[object]", given) if isinstance(given, list) else []
    pairs = [[*cast("list[object]", one), "", ""] for one in many if isinstance(one, list)]
    return [(str(role), str(text)) for role, text, *_ in pairs]
