"""A loaded instance: the states of its append slot, and that no other module writes its fields."""

from __future__ import annotations

import ast
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

import romancy
from romancy.engine import instance
from romancy.engine.instance import Live
from romancy.engine.slot import FREE, GATHERING, GONE, TAKEN, Slot
from romancy.errors import InternalError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOTHING = cast("Any", None)
OWNED = {"inputs", "attempts", "returning", "wanting", "lazy"}
CHANGES = {"append", "clear", "extend", "insert", "pop", "popitem", "remove", "setdefault", "sort", "update"}

MOVES: dict[str, Callable[[Live], object]] = {
    "take": lambda live: live.take_slot(),
    "append": lambda live: live.append("w.1", b"[]"),
    "free": lambda live: live.free_slot(),
    "gather": lambda live: live.gather(held()),
    "gathered": lambda live: live.gathered(),
}
ALLOWED = {
    FREE: {"take": TAKEN, "append": TAKEN, "gather": GATHERING},
    GATHERING: {"gathered": FREE},
    TAKEN: {"free": FREE},
    GONE: dict[str, Slot](),
}


def held() -> Any:
    return SimpleNamespace(timer=SimpleNamespace(cancel=lambda: None))


def in_state(slot: Slot) -> Live:
    live = Live("one", 1, NOTHING, NOTHING)
    if slot is TAKEN:
        live.take_slot()
    elif slot is GATHERING:
        live.gather(held())
    elif slot is GONE:
        live.let_go()
    assert live.slot is slot
    return live


@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize("slot", Slot)
def test_a_slot_makes_only_the_moves_of_its_state(slot: Slot, move: str) -> None:
    live = in_state(slot)
    if move in ALLOWED[slot]:
        MOVES[move](live)
        assert live.slot is ALLOWED[slot][move]
    else:
        with pytest.raises(InternalError, match=f"instance one cannot .* slot is {slot.value}"):
            MOVES[move](live)
        assert live.slot is slot


@pytest.mark.parametrize("slot", Slot)
def test_an_instance_can_be_let_go_in_every_state(slot: Slot) -> None:
    live = in_state(slot)
    live.let_go()
    assert (live.slot, live.held) == (GONE, None)


def test_an_attempt_ends_once_and_only_if_it_is_still_the_one() -> None:
    live = in_state(FREE)
    first, second = (cast("Any", SimpleNamespace(id="a:1")) for _ in range(2))
    live.begins(first)
    live.begins(second)
    assert [live.ends(attempt, NOTHING) for attempt in (first, second, second)] == [False, True, False]
    assert live.inputs == [(NOTHING, None)]


def test_only_an_instance_writes_its_fields() -> None:
    """The rule of `instance.py`, for everything that is known there as `live`, `mine` or `….live`."""
    written = [
        f"{path.relative_to(ENGINE)}:{line}: {field}"
        for path in sorted(ENGINE.rglob("*.py"))
        if path != Path(instance.__file__)
        for line, field in writes_in(path)
    ]
    assert not written


def test_the_rule_sees_writes(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    lines = ("live.head = 1", "a, mine.shown = 1, 2", "prepared.live.inputs += []", "del live.attempts[0]",
             "live.inputs.append(0)", "live.lazy['a'] = None")  # fmt: skip
    path.write_text("\n".join(lines), "utf-8")
    assert sorted(line for line, _ in writes_in(path)) == [*range(1, len(lines) + 1)]


ENGINE = Path(romancy.__file__).parent / "engine"


def writes_in(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store | ast.Del):
            target: ast.expr = node
        elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del):
            target = node.value
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CHANGES:
            target = node.func.value
            if not (isinstance(target, ast.Attribute) and target.attr in OWNED):
                continue
        else:
            continue
        if isinstance(target, ast.Attribute) and target.attr in Live.__slots__ and is_instance(target.value):
            yield node.lineno, target.attr


def is_instance(node: ast.expr) -> bool:
    if isinstance(node, ast.Attribute):
        return node.attr == "live" and not (isinstance(node.value, ast.Name) and node.value.id == "driver")
    return isinstance(node, ast.Name) and node.id in ("live", "mine", "kept")
