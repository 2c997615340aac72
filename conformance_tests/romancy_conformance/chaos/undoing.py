"""Undos that a program registers while it runs, among activities that have a compensation of their own."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from romancy_conformance.chaos.interpreting import interpret

if TYPE_CHECKING:
    from romancy_conformance.chaos.interpreting import Handler, Registered, World
    from romancy_conformance.chaos.programs import Node

__all__ = ["UNDOING", "in_order", "link"]


def link(chain: str, place: int) -> str:
    """Return the key of an effect in a chain. A chain is undone from its last place to its first."""
    return f"{chain}#{place}"


def in_order(undone: list[str]) -> bool:
    """Whether each chain was undone backwards; as a whole again each time, if it was undone several times."""
    chains: defaultdict[str, list[int]] = defaultdict(list)
    for key in undone:
        chain, mark, place = key.partition("#")
        if mark:
            chains[chain].append(int(place))
    return all(_goes_back(places) for places in chains.values())


def _goes_back(places: list[int]) -> bool:
    once = sorted(set(places), reverse=True)
    return places == once * (len(places) // len(once))


async def _undos(world: World, node: Node) -> Any:
    """Do one thing after another, each with an undo. Some undos are taken back, at once or at the end."""
    late: list[Registered] = []
    for each in node.of:
        done = await interpret(world, each.of[0] if each.of else each)
        if not each.of:
            continue
        undo = world.on_undo("annul_lazily" if each.op == "registers_lazily" else "annul", str(done))
        if each.op == "revokes":
            undo.take_back()
        elif each.op == "revokes_late":
            late.append(undo)
    for undo in late:
        undo.take_back()
    return len(node.of)


UNDOING: dict[str, Handler] = {"undos": _undos}
