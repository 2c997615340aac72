"""Programs as data: what a workflow does, as a tree made from a seed."""

from __future__ import annotations

import hashlib
import random
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from romancy_conformance.chaos.undoing import link

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "CHANNELS",
    "ENDINGS",
    "EVENTS",
    "FEATURES",
    "RETRIED",
    "UNUSUAL",
    "Node",
    "Program",
    "every",
    "generate",
    "keeping_places",
]


class Node(Struct, frozen=True, omit_defaults=True):
    """One operation of a program. `op` names it; it gives the other fields their meaning."""

    op: str
    key: str = ""
    count: int = 0
    seconds: float = 0.0
    of: tuple[Node, ...] = ()
    program: Program | None = None

    def __str__(self) -> str:
        inside = [self.key, *([f"×{self.count}"] if self.count else []), *map(str, self.of)]
        if self.program is not None:
            inside.append(str(self.program))
        return f"{self.op}({', '.join(filter(None, inside))})"


class Program(Struct, frozen=True, omit_defaults=True):
    """One workflow: the tree of each of its runs, and how the last one ends."""

    path: str
    """Its instance id."""
    runs: tuple[Node, ...]
    ending: str = "returns"
    signals: tuple[tuple[str, int], ...] = ()
    """The signals that a sender outside sends to it, in this order."""
    mail: tuple[tuple[str, str, int], ...] = ()
    """What a sender outside sends besides: `tell` an event, `publish` or `answer` on a channel, and which number."""
    failures: int = 0
    """How often it fails, or is cancelled by its parent, before it is retried successfully."""
    kin: tuple[Program, ...] = ()
    """Its children at its end, which run side by side and can fail. What they do before is done once."""
    undetermined: bool = False
    """Whether it is stopped in the middle of an operation, so that the number of its effects varies."""

    def __str__(self) -> str:
        ending = f"{self.ending}×{self.failures}" if self.failures else self.ending
        beside = f" beside [{'; '.join(map(str, self.kin))}]" if self.kin else ""
        return f"{self.path}: {' then '.join(map(str, self.runs))}, {ending}{beside}"


ENDINGS = ("returns", "fails", "exhausts", "stops-itself", "cancelled", "retry", "retries", "recalled")
"""How a program ends. A program to be cancelled announces that it is ready, and waits. A program to be retried fails
until its effects were undone. One with `retries` fails several times: because of a grandchild, of a child (another
child is cancelled each time), or of itself. One that is `recalled` is cancelled, and retried after that.
"""
RETRIED = frozenset({"retry", "retries", "recalled"})
UNUSUAL = RETRIED | {"child_late"}
"""Features that only `--with` includes."""
_NOT_RETRIED = frozenset({"child_fails", "child_late", "launch_cancel", "event_inherited", "channel_inherited"})
"""Operations that a retry may either repeat or answer from memory."""

LEAVES = (
    "step", "write", "savepoint", "flaky", "reserve", "sync", "nap", "draw", "leaky", "quicks", "quick_write",
    "quick_flaky", "quicks_beside", "outbox", "undos", "guess", "gamble",
)  # fmt: skip
_LINKS = ("registers", "registers_lazily", "revokes", "revokes_late", "reserve")
_UNDONE = ("write", "savepoint", "flaky", "quick_write")
_FAILING = ("doomed", "exhausted", "raises")
_BLOCKS = ("sleeps", "hears", "holds", "keeps", "awaits", "idles", "stands")
_AT_WORK = frozenset({"holds", "keeps"})
"""Those of them that are activities: their instance is at work until they are cancelled."""
COMPOSITES = (
    "seq", "attempt", "final", "gather", "gather_errors", "group", "group_fails", "as_completed", "wait_first",
    "in_time", "too_late", "wait_for_hit", "shield", "cancel_task", "queue", "lock", "semaphore", "event",
    "condition", "generator", "any_group", "any_group_fails", "move_on", "fail_after", "scope_cancel", "stream",
    "callbacks",
)  # fmt: skip
OUTSIDE = (
    "signal", "signals", "signal_races", "signal_none", "child", "child_fails", "launch", "launch_cancel", "spawn",
    "child_late",
)  # fmt: skip
EVENTS = (
    "event_sent", "event_late", "event_left", "event_none", "event_told", "event_picked", "event_child",
    "event_inherited", "listen", "listen_left",
)  # fmt: skip
CHANNELS = (
    "channel_direct", "channel_sent", "channel_late", "channel_left", "channel_picked", "channel_inherited",
    "channel_group", "channel_shared",
)  # fmt: skip
_FROM_OUTSIDE = {
    "event_sent": "tell", "event_late": "tell", "event_left": "tell", "channel_direct": "answer",
    "channel_sent": "publish", "channel_late": "publish", "channel_left": "publish",
}  # fmt: skip
_TELLING = ("tell", "tells", "tells_written", "tells_joined")
_ANNOUNCING = ("announce", "announces", "announces_lazily", "announces_written", "announces_joined")
_CALLING, _PUBLISHING = ("call", "calls"), ("publish", "publishes")
RARE = ("long", "crowd")
FEATURES = frozenset((
    *LEAVES, *_FAILING, *_BLOCKS, *COMPOSITES, *OUTSIDE, *EVENTS, *CHANNELS, *RARE, *ENDINGS, *_LINKS, "recur", "over",
    "first",
))  # fmt: skip
"""Features that `--without` can exclude from programs; without `first`, each run begins with an activity."""


def _seeded(*parts: object) -> random.Random:
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return random.Random(int.from_bytes(digest[:8], "big"))


def generate(path: str, seed: str, without: frozenset[str] = UNUSUAL) -> Program:
    """Return the program of this seed, to run under this instance id."""
    return _Maker(_seeded("program", seed), without).program(path, depth=0)


def every(program: Program) -> Iterator[Program]:
    """Yield the program and all that it starts, at any depth."""
    yield program
    for run in program.runs:
        yield from _started(run)
    for each in program.kin:
        yield from every(each)


def _started(node: Node) -> Iterator[Program]:
    if node.program is not None:
        yield from every(node.program)
    for each in node.of:
        yield from _started(each)


def keeping_places(program: Program) -> int:
    """How many instances of it may keep a place of their worker until another instance has done something.

    A worker without a place beside them would wait for ever: the other instance waits for a place. They are those at
    its end, whose activities are repeated until a relative has failed, and those that an activity of hours keeps at
    work beside a child, or until their parent cancels them.
    """
    return sum(len(each.kin) + _is_kept_at_work(each) for each in every(program))


def _is_kept_at_work(program: Program) -> bool:
    nodes = [node for run in program.runs for node in _nodes(run)]
    waits = program.undetermined or any(node.program is not None for node in nodes)
    return waits and any(node.op in _AT_WORK for node in nodes)


def _nodes(node: Node) -> Iterator[Node]:
    """Yield the node and what is below it, without what other instances do."""
    yield node
    for each in node.of:
        yield from _nodes(each)


class _Maker:
    """Makes one program and its children; its own numbers make every key stand for one effect."""

    def __init__(self, chance: random.Random, without: frozenset[str]) -> None:
        self._chance = chance
        self._without = without
        self._keys = 0
        self._children = 0
        self._path = ""
        self._signals: list[tuple[str, int]] = []
        self._mail: list[tuple[str, str, int]] = []
        self._spent = 0

    def program(self, path: str, depth: int, ending: str | None = None) -> Program:
        """Make a program; the deeper it lies, the smaller its tree."""
        outer = self._path, self._signals, self._mail, self._spent
        self._path, self._signals, self._mail, self._spent = path, [], [], 0
        runs = self._chance.choice((1, 1, 1, 2, 3)) if depth == 0 and "recur" not in self._without else 1
        if ending is None:
            ending = self._pick(ENDINGS, (8, 3, 1, 1, 2, 4, 4, 4)) if depth == 0 else "returns"
        allowed = self._without
        self._without = allowed | _NOT_RETRIED if ending in RETRIED else allowed
        trees = tuple(self._run(1 + depth, 4 if depth == 0 else 2) for _ in range(runs))
        failures, kin = (1 if ending in {"retry", "recalled"} else 0), tuple[Program, ...]()
        if ending == "retries":
            failures = self._chance.randint(2, 3)
            kin = self._kin(path, failures)
        self._without = allowed
        if runs > 1 and "over" not in self._without and self._chance.random() < 0.4:
            trees = self._over(trees)
        made = Program(path, trees, ending, tuple(self._signals), tuple(self._mail), failures, kin)
        self._path, self._signals, self._mail, self._spent = outer
        return made

    def _pick(self, names: tuple[str, ...], weights: tuple[int, ...] | None = None) -> str:
        allowed = [(name, 1 if weights is None else weights[at]) for at, name in enumerate(names)]
        allowed = [(name, weight) for name, weight in allowed if name not in self._without] or allowed[:1]
        return self._chance.choices([name for name, _ in allowed], [weight for _, weight in allowed])[0]

    def _key(self) -> str:
        self._keys += 1
        return f"k{self._keys}"

    def _address(self) -> str:
        return f"{self._path}/{self._key()}"

    def _kin(self, path: str, failures: int) -> tuple[Program, ...]:
        """Make two children, of which one has a child; these two fail some of the times that their parent fails."""
        by_child = self._chance.randint(1, failures)
        by_grandchild = self._chance.randint(0, by_child)
        trees = [Node("seq", of=(self._completes(),)) for _ in range(3)]
        grandchild = Program(f"{path}.kb.kc", (trees[0],), "retries", failures=by_grandchild)
        child = Program(f"{path}.kb", (trees[1],), "retries", failures=by_child, kin=(grandchild,))
        return Program(f"{path}.ka", (trees[2],), "waits", failures=by_child), child

    def _completes(self) -> Node:
        """Make something that completes before its workflow fails or is cancelled, so that a retry remembers it."""
        names = ("child", "launch")
        if not self._has(names) or self._chance.random() < 0.5:
            return self._leaf()
        return self._child(self._pick(names), depth=2)

    def _run(self, depth: int, most: int) -> Node:
        """Make one run's tree; its first operation is what a start without a worker begins with."""
        first = (Node("step", self._key()),) if "first" in self._without else ()
        return Node("seq", of=(*first, *(self._node(depth) for _ in range(self._chance.randint(1, most)))))

    def _node(self, depth: int) -> Node:
        self._spent += 1
        if depth >= 4 or self._spent > 14 or self._chance.random() < 0.35:
            return self._leaf()
        if self._chance.random() < 0.03:
            return Node(self._pick(RARE), self._key(), count=6000) if self._has(RARE) else self._leaf()
        op = self._pick(COMPOSITES + OUTSIDE + EVENTS + CHANNELS)
        if op in COMPOSITES:
            return self._composite(op, depth)
        if op in EVENTS or op in CHANNELS:
            return self._message(op)
        if op.startswith("signal"):
            return self._signal(op)
        return self._stopped_child(op) if op in {"launch_cancel", "child_late"} else self._child(op, depth)

    def _has(self, names: tuple[str, ...]) -> bool:
        return any(name not in self._without for name in names)

    def _leaf(self) -> Node:
        op = self._pick(LEAVES, (2, 5, 1, 2, 4, 1, 2, 1, 1, 3, 1, 1, 2, 3, 3, 2, 2))
        if op == "undos":
            return self._undos()
        if op == "outbox":
            address, count = self._address(), self._chance.randint(1, 4)
            sent = (Node(self._chance.choice(_ANNOUNCING), address, number) for number in range(1, count + 1))
            return Node(op, address, of=tuple(sent))
        key = self._key()
        return Node(op, key, count=self._chance.randint(1, 3), seconds=round(self._chance.uniform(0.01, 0.4), 2))

    def _undos(self) -> Node:
        """Make a chain of effects, each of which is undone by its own compensation or by an undo that is registered."""
        chain, of = self._key(), list[Node]()
        for place in range(1, self._chance.randint(2, 4) + 1):
            op, key, count = self._pick(_LINKS), link(chain, place), self._chance.randint(1, 3)
            effect = Node("reserve" if op == "reserve" else self._pick(_UNDONE), key, count)
            of.append(effect if op == "reserve" else Node(op, of=(effect,)))
        return Node("undos", chain, of=tuple(of))

    def _failing(self) -> Node:
        return Node(self._pick(_FAILING), self._key())

    def _block(self, *, alone: bool = False) -> Node:
        """Make something that never ends by itself; `alone`, it must wait for something that could happen."""
        op = self._pick(_BLOCKS[:-1] if alone else _BLOCKS)
        key = self._address() if op in {"awaits", "idles"} else self._key()
        return Node(op, key, seconds=self._chance.choice((600.0, 3600.0, 86_400.0)))

    def _composite(self, op: str, depth: int) -> Node:
        branches = tuple(self._node(depth + 1) for _ in range(self._chance.randint(2, 3)))
        key, count = self._key(), self._chance.randint(1, 4)
        match op:
            case "attempt" | "gather_errors":
                of = (*branches[:1], self._failing(), *branches[1:])
            case "final" | "shield":
                of = branches[:1]
            case "too_late" | "wait_for_hit" | "move_on" | "fail_after" | "wait_first":
                of = (branches[0], self._block())
            case "group_fails" | "any_group_fails" | "cancel_task" | "scope_cancel":
                of = (*branches[:2], self._block())
            case _:
                of = branches
        return Node(op, key, count, round(self._chance.uniform(0.02, 0.3), 2), of)

    def _signal(self, op: str) -> Node:
        key = self._key()
        count = self._chance.randint(2, 5) if op == "signals" else 1
        if op != "signal_none":
            self._signals += [(key, number) for number in range(1, count + 1)]
        return Node(op, key, count=count, seconds=round(self._chance.uniform(0.05, 0.3), 2), of=(self._block(),))

    def _child(self, op: str, depth: int) -> Node:
        self._children += 1
        ending = "fails" if op == "child_fails" else None
        program = self.program(f"{self._path}.c{self._children}", depth + 2, ending or "returns")
        return Node(op, self._key(), of=(self._leaf(),), program=program)

    def _stopped_child(self, op: str) -> Node:
        """Make a child that its parent, or its own limit, stops in its wait or before."""
        self._children += 1
        tree = Node("seq", of=(Node("write", self._key()), self._block(alone=True)))
        program = Program(f"{self._path}.c{self._children}", (tree,), "returns", undetermined=True)
        seconds = round(self._chance.uniform(0.1, 3.0), 2) if op == "child_late" else 0.0
        return Node(op, self._key(), seconds=seconds, program=program)

    def _message(self, op: str) -> Node:
        address, count = self._address(), self._chance.randint(1, 4)
        program: Program | None = None
        of: tuple[Node, ...] = (self._leaf(),)
        if op in _FROM_OUTSIDE:
            self._mail += [(_FROM_OUTSIDE[op], address, number) for number in range(1, count + 1)]
        elif op in {"event_child", "listen"}:
            program = self._sender(address, count, _TELLING if op == "event_child" else _CALLING)
        elif op in {"event_inherited", "channel_inherited"}:
            heir = Node("event_sent" if op == "event_inherited" else "channel_sent", address, count=1)
            program = self._small(heir, undetermined=True)
        elif op in {"channel_group", "channel_shared"}:
            role = Node("member" if op == "channel_group" else "helper", address, count)
            of = tuple(Node("child", program=self._small(role)) for _ in range(2))
        return Node(op, address, count, round(self._chance.uniform(0.02, 0.3), 2), of, program)

    def _small(self, *nodes: Node, undetermined: bool = False) -> Program:
        """Make a child that does only this."""
        self._children += 1
        return Program(f"{self._path}.c{self._children}", (Node("seq", of=nodes),), undetermined=undetermined)

    def _sender(self, address: str, count: int, *ways: tuple[str, ...]) -> Program:
        """Make a child that sends so many numbers in order, by each kind of ways."""
        sent = [Node(self._chance.choice(way), address, number) for number in range(1, count + 1) for way in ways]
        return self._small(*sent)

    def _over(self, trees: tuple[Node, ...]) -> tuple[Node, ...]:
        """Let the first run subscribe to what the last one receives."""
        address, count = self._address(), self._chance.randint(1, 3)
        first, last = self._chance.randrange(len(trees) - 1), len(trees) - 1
        begin = Node("over_begin", address, program=self._sender(address, count, _CALLING, _PUBLISHING))
        changed = {first: (*trees[first].of, begin), last: (Node("over_end", address, count), *trees[last].of)}
        return tuple(msgspec.structs.replace(tree, of=changed.get(at, tree.of)) for at, tree in enumerate(trees))
