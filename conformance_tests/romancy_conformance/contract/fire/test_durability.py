"""Durability: kill the server (or the process, where there is none) in a storm of appends, and count what is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from romancy.storage.backends import create_store
from romancy.storage.records import ClaimRequest
from romancy_conformance.contract.building import Actor, full_log, nonce, unique
from romancy_conformance.contract.fire.process import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from romancy.storage.protocol import Store
    from romancy_conformance.contract.fire.conftest import Ground
    from romancy_conformance.contract.fire.process import Program

pytestmark = [pytest.mark.anyio, pytest.mark.soak]

_INSTANCES = 24
_ROUNDS = 2


async def test_what_was_acknowledged_is_there_and_nothing_is_half_there(
    ground: Ground, launch: Callable[..., Program], scale: int
) -> None:
    workflow = unique("flow")
    program = launch("storm-0", "stormer", ground.url, workflow, _INSTANCES)
    programs = [program]
    for number in range(1, _ROUNDS * scale + 1):
        assert await _acknowledged_more(program, 400), program.said
        if ground.server is not None:
            ground.server.kill()
            ground.server.start()
        else:
            program.kill()
            program = launch(f"storm-{number}", "stormer", ground.url, workflow, _INSTANCES)
            programs.append(program)
    assert await _acknowledged_more(program, 1), f"it does not go on:\n{program.said}"
    await program.finish()

    acknowledged = {(fact[0], int(fact[1]), fact[2]) for one in programs for fact in one.notes("ok")}
    assert [fact for one in programs for fact in one.notes("odd")] == []
    store = create_store(ground.url)
    await store.open()
    rich = await _check(store, workflow, acknowledged)
    await store.close()
    print(f"{len(acknowledged)} appends acknowledged over {_ROUNDS * scale} kills, {rich} with rows in every table")


async def _acknowledged_more(program: Program, count: int) -> bool:
    before = len(program.notes("ok"))
    return await until(lambda: len(program.notes("ok")) >= before + count)


async def _check(store: Store, workflow: str, acknowledged: set[tuple[str, int, str]]) -> int:
    """Compare the database with the notes; return the number of appends with effects."""
    instance_ids = sorted({instance_id for instance_id, _, _ in acknowledged})
    written: set[tuple[str, int, str]] = set()
    rich: list[dict[str, Any]] = []
    for instance_id in instance_ids:
        rows = await full_log(store, instance_id)
        assert [row.seq for row in rows] == list(range(1, len(rows) + 1))
        written |= {(instance_id, row.seq, row.writer) for row in rows}
        events = [msgspec.json.decode(row.body)[0] for row in rows]
        rich += [event for event in events if event["type"] == "rich"]
    assert acknowledged - written == set()

    outgoing = {row.outbox_id: msgspec.json.decode(row.body) for row in await store.services.outbox.read(1_000_000)}
    assert outgoing == {event["outbox"]: {"instance": event["instance"], "seq": event["seq"]} for event in rich}
    mail = await _all_mail(store, workflow, instance_ids)
    assert mail == {event["delivery"]: {"instance": event["instance"], "seq": event["seq"]} for event in rich}
    for event in rich:
        child = await store.read(event["child"])
        assert child is not None
        assert (child.instance.parent, len(child.rows)) == (event["instance"], 1)
    return len(rich)


async def _all_mail(store: Store, workflow: str, instance_ids: list[str]) -> dict[str, Any]:
    """Return all inbox rows of these instances, after taking over the dead workers."""
    heir = await Actor(store, workflows={workflow: "c1"}).register()
    for peer in (await store.heartbeat(heir.worker)).peers:
        left = True
        while left:
            answer = await store.takeover(heir.token, peer, b'[{"type":"owner"}]', nonce())
            assert not answer.refused
            left = answer.left
    work = await store.claim(ClaimRequest(worker=heir.token, codes=heir.workflows, limit=10_000))
    assert sorted(one.instance_id for one in work.claimed) == instance_ids
    return {row.delivery_id: msgspec.json.decode(row.body) for box in work.mail for row in box.rows}
